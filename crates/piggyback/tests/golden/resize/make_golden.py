"""Writes the golden images of the resize tests with Pillow.

    pip install pillow numpy
    python make_golden.py

`cases.json` lists, for each case, the source, the preprocessing and the expected file; `resize` is spelt as in
a task file. The size and crop rules are those of torchvision's `Resize` and `CenterCrop`.
"""

import json
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

HERE = Path(__file__).parent
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def sources():
    """Noise has the sharpest edges there are; the ramp crosses every value; the drawing has large plain areas."""
    random = np.random.default_rng(20)
    noise = random.integers(0, 256, (53, 71, 3), dtype=np.uint8)
    stark = random.integers(0, 2, (40, 31, 3), dtype=np.uint8) * 255
    y, x = np.mgrid[0:64, 0:150]
    ramp = np.stack([x * 255 // 149, y * 255 // 63, (x + y) * 255 // 212], axis=2).astype(np.uint8)
    drawing = np.full((96, 96, 3), 255, dtype=np.uint8)
    y, x = np.mgrid[0:96, 0:96]
    drawing[(x - 48) ** 2 + (y - 40) ** 2 < 900] = (230, 40, 60)
    drawing[70:80, 10:86] = (20, 20, 20)
    line = random.integers(0, 256, (1, 300, 3), dtype=np.uint8)
    return {"noise": noise, "stark": stark, "ramp": ramp, "drawing": drawing, "line": line}


def prepare(image, resize, size, interpolation):
    if resize == "squash":
        return image.resize((size, size), FILTERS[interpolation])
    short = resize["short-side"]
    width, height = image.size
    if width <= height:
        width, height = short, int(short * height / width)
    else:
        width, height = int(short * width / height), short
    image = image.resize((width, height), FILTERS[interpolation])
    left, top = int(round((width - size) / 2.0)), int(round((height - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def main():
    wanted = [
        ("noise", "squash", 24), ("noise", "squash", 64), ("noise", "squash", 71), ("noise", {"short-side": 20}, 16),
        ("noise", {"short-side": 63}, 48), ("stark", "squash", 16), ("stark", "squash", 57),
        ("stark", {"short-side": 23}, 22), ("ramp", "squash", 32), ("ramp", {"short-side": 37}, 32),
        ("drawing", "squash", 40), ("drawing", "squash", 96), ("drawing", {"short-side": 55}, 48), ("line", "squash", 8),
        ("line", {"short-side": 20}, 17),
    ]
    images = {name: Image.fromarray(pixels) for name, pixels in sources().items()}
    for name, image in images.items():
        image.save(HERE / f"source-{name}.png", optimize=True)
    cases = []
    for name, resize, size in wanted:
        for interpolation in FILTERS:
            rule = resize if resize == "squash" else f"short{resize['short-side']}"
            expected = f"{name}-{rule}-{size}-{interpolation}.png"
            prepare(images[name], resize, size, interpolation).save(HERE / expected, optimize=True)
            cases.append({"source": f"source-{name}.png", "resize": resize, "image_size": size,
                          "interpolation": interpolation, "expected": expected})
    text = json.dumps({"pillow": PIL.__version__, "cases": cases}, indent=1)
    (HERE / "cases.json").write_text(text + "\n")


main()
