"""Writes the small images that the tests cannot make in Rust, with Pillow: `pip install pillow; python make.py`."""

from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
red_blue = Image.new("RGB", (16, 8), (255, 0, 0))
red_blue.paste((0, 0, 255), (8, 0, 16, 8))
red_blue.convert("CMYK").save(HERE / "cmyk.jpg", quality=90)
red_blue.save(HERE / "progressive.jpg", quality=90, progressive=True, subsampling=0)
palette = red_blue.quantize(2)
palette.save(HERE / "palette.png", bits=1)
transparent = palette.getpixel((0, 0))
palette.save(HERE / "palette-transparent.png", bits=1, transparency=transparent)
bits = Image.new("1", (16, 8), 0)
bits.paste(1, (8, 0, 16, 8))
bits.save(HERE / "one-bit.png")
green = Image.new("RGB", (16, 8), (0, 255, 0))
red_blue.save(HERE / "animated.gif", save_all=True, append_images=[green], duration=50)
red_blue.save(HERE / "animated.webp", save_all=True, append_images=[green], duration=50, lossless=True)
red_blue.save(HERE / "lossy.webp", quality=90)
