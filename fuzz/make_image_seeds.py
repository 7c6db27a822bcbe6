"""Writes fuzz/corpus/image, small images of every format and some that are broken: python fuzz/make_image_seeds.py

Needs Pillow.
"""

import io
import pathlib

from PIL import Image

corpus = pathlib.Path(__file__).parent / "corpus" / "image"
corpus.mkdir(parents=True, exist_ok=True)
picture = Image.new("RGB", (19, 11))
picture.putdata([(13 * x % 256, 23 * y % 256, (x * y) % 256) for y in range(11) for x in range(19)])


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


seeds = {
    "jpeg-444": encoded(picture, "JPEG", subsampling=0),
    "jpeg-422": encoded(picture, "JPEG", subsampling=1),
    "jpeg-420": encoded(picture, "JPEG", subsampling=2),
    "jpeg-restarts": encoded(picture, "JPEG", restart_marker_blocks=1),
    "jpeg-progressive": encoded(picture, "JPEG", progressive=True),
    "jpeg-grey": encoded(picture.convert("L"), "JPEG"),
    "jpeg-cmyk": encoded(picture.convert("CMYK"), "JPEG"),
    "png": encoded(picture, "PNG"),
    "gif": encoded(picture.convert("P"), "GIF"),
    "bmp": encoded(picture, "BMP"),
    "webp": encoded(picture, "WEBP", lossless=True),
    "tiff": encoded(picture, "TIFF"),
    "tiff-lzw": encoded(picture, "TIFF", compression="tiff_lzw"),
    "ppm": encoded(picture, "PPM"),
    "pgm-text": b"P2\n# a comment\n2 2 255\n0 10 200 255\n",
}
jpeg, progressive = seeds["jpeg-420"], seeds["jpeg-progressive"]
broken = {
    "broken-half": jpeg[: len(jpeg) // 2],
    "broken-progressive": progressive[:-40] + b"\xff\xd9",
    "broken-12-bits": jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
    "broken-arithmetic": jpeg.replace(b"\xff\xc0", b"\xff\xc9"),
    "broken-no-tables": jpeg.replace(b"\xff\xc4", b"\xff\xfe"),
    "broken-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}
for name, content in (seeds | broken).items():
    (corpus / name).write_bytes(content)
