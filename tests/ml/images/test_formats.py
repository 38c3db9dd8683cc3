"""Formats of image files beside PNG and JPEG, and depths beside 8 bits."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ml.errors import Invalid
from ml.images.decode import PictureForm, decode, decode_picture, used_bits
from ml.images.formats.base import ImageHeader
from ml.images.header import MEDIA_TYPES, is_image, read_header
from ml.images.ink import ImageForm
from tests.ml.images.drawings import difference, encoded, seven

MAX_PIXELS = 50_000_000
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
LEVELS = np.arange(2400, dtype=np.uint16).reshape(40, 60)


def header(file: bytes) -> ImageHeader:
    return read_header(file, max_pixels=MAX_PIXELS)


def as_pillow(file: bytes, mode: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)).convert(mode))


FILES: list[tuple[str, str, bool, dict[str, Any]]] = [
    *(("GIF", mode, mode in "1L", {}) for mode in ("1", "L", "P", "RGB")),
    *(("BMP", mode, mode in "1L", {}) for mode in ("1", "L", "P", "RGB")),
    *(("WEBP", mode, False, {"lossless": True}) for mode in ("L", "RGB", "RGBA")),
    ("WEBP", "RGB", False, {"quality": 50}),
    *(("TIFF", mode, mode in "1LA", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")),
    *(
        ("TIFF", "RGB", False, {"compression": name})
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ),
    ("TIFF", "1", True, {"compression": "group4"}),
    ("PNG", "P", False, {}),
]


@pytest.mark.parametrize(("kind", "mode", "is_grey", "options"), FILES)
def test_every_mode_is_read_as_it_is(
    kind: str, mode: str, is_grey: bool, options: dict[str, Any]
) -> None:
    file = encoded(NOISE.convert(mode), kind, **options)
    found = header(file)
    assert (found.size, found.is_grey, found.has_more) == ((40, 60), is_grey, False)
    form = PictureForm(height=40, width=60, channels=1 if is_grey else 3)
    pixels = form.decode(found) if is_grey else np.moveaxis(form.decode(found), 0, -1)
    if mode not in ("RGBA", "LA"):  # whose noise is opaque to Pillow's conversion
        assert np.array_equal(pixels, as_pillow(file, "L" if is_grey else "RGB"))
    assert decode(found).shape == (40, 60)


def test_a_palette_of_greys_is_grey() -> None:
    page = seven().convert("L").quantize(4)
    for kind in ("PNG", "GIF", "TIFF", "BMP"):
        found = header(encoded(page, kind))
        assert found.is_grey, kind
        assert (
            difference(
                PictureForm(height=280, width=280, channels=1).decode(found),
                np.asarray(page.convert("L")),
            )
            == 0
        )


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_is_read(kind: str) -> None:
    red, blue = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    found = header(encoded(red, kind, save_all=True, append_images=[blue], lossless=True))
    assert found.has_more
    assert found.size == (6, 8)
    assert np.asarray(decode_picture(found)).tolist() == [[[255, 0, 0]] * 8] * 6


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_orientation_is_applied_once(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored_lying = seven(size=(200, 280), at=(40, 60)).transpose(Image.Transpose.ROTATE_90)
    found = header(encoded(stored_lying, kind, exif=exif, quality=100))
    assert found.size == (280, 200)
    assert difference(decode(found), np.asarray(seven(size=(200, 280), at=(40, 60)))) < 1


def test_transparent_frames_become_white() -> None:
    canvas = Image.new("RGBA", (8, 6), (200, 0, 0, 0))
    canvas.paste((0, 0, 200, 255), (0, 0, 4, 6))
    for kind in ("WEBP", "GIF", "PNG", "TIFF"):
        pixels = np.asarray(decode_picture(header(encoded(canvas, kind, lossless=True))))
        assert pixels[0, 0].tolist() == [0, 0, 200], kind
        assert pixels[0, 7].tolist() == [255, 255, 255], kind


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    file = encoded(NOISE, kind)
    with pytest.raises(Invalid, match=r"truncated or corrupt|not a PNG"):
        decode(header(file[: int(share * len(file))]))


def tiff(**tags: tuple[int, int]) -> bytes:
    """Return a TIFF file of the size 4x4 with tags, each a type and a value, replaced."""
    found = {
        256: (3, 4),
        257: (3, 4),
        258: (3, 8),
        259: (3, 1),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (3, 4),
        279: (4, 16),
    } | {int(tag[1:]): value for tag, value in tags.items()}
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value)
        for tag, (kind, value) in sorted(found.items())
    )
    return (
        b"II*\0"
        + struct.pack("<I", 24)
        + bytes(range(16))
        + struct.pack("<H", len(found))
        + entries
        + bytes(4)
    )


def more_strips() -> bytes:
    """Return a TIFF file whose strips each are half of the image, and of which there are three."""
    file = bytearray(encoded(Image.new("L", (9, 9)), "TIFF", tiffinfo={278: 3}))
    at = file.index(struct.pack("<HHI", 278, 4, 1))
    file[at + 8] = 5
    return bytes(file)


def test_a_tiff_file_by_hand() -> None:
    assert decode(header(tiff())).tolist() == np.arange(16).reshape(4, 4).tolist()
    assert decode(header(tiff(t262=(3, 0)))).max() == 255


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (tiff(t256=(4, 100_000), t257=(4, 100_000)), "too large: 100000x100000"),
        (tiff(t339=(3, 3), t258=(3, 32)), "floats, signed or over 16-bit"),
        (tiff(t339=(3, 2), t258=(3, 16)), "floats, signed or over 16-bit"),
        (tiff(t259=(3, 50_000)), "compression 50000"),
        (tiff(t259=(3, 6)), "compression 6"),
        (tiff(t254=(4, 1)), "a camera's raw file"),
        (tiff(t277=(3, 60_000)), "60,000 channels"),
        (tiff(t322=(4, 60_000), t323=(4, 60_000)), "tiles are larger"),
        (tiff(t278=(3, 0)), "parts without any"),
        (more_strips(), "more parts than fit"),
        (b"GIF89a" + bytes(7) + b"!\xfe\0" * 90_000, "too many blocks"),
        (b"GIF89a" + bytes(7) + b"!\xfe" + b"\1 " * 80_000, "too many blocks"),
        (encoded(NOISE, "TIFF", big_tiff=True), "BigTIFF"),
        (tiff()[:30], "it ends early"),
        (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 3000, 3000, 1, 8, 1) + bytes(99), "length"),
        (encoded(NOISE, "AVIF"), "an AVIF image, which is not read; save it as PNG or JPEG"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC image"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (encoded(NOISE, "JPEG2000"), "a JPEG 2000 image"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG image"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(file: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        decode(header(file))


def test_texts_are_no_images() -> None:
    assert not is_image(b"BMI,age,height,weight\n1,2,3,4\n")
    assert not is_image(b"II. Names of the classes")
    assert not is_image(b"<html></html>")
    assert is_image(encoded(NOISE, "BMP")[:64])
    assert len(MEDIA_TYPES) == len(set(MEDIA_TYPES))


def test_formats_that_take_more_memory_have_fewer_pixels() -> None:
    page = Image.new("RGB", (100, 100))
    assert read_header(encoded(page, "PNG"), max_pixels=10_000).pixels == 10_000
    with pytest.raises(Invalid, match="100x100 is 10000 pixels, at most 2857 are allowed"):
        read_header(encoded(page, "WEBP"), max_pixels=10_000)


def test_metadata_is_never_handed_on() -> None:
    page, note = Image.new("L", (60, 40), 7), bytes(1_000_000)
    for file in (
        encoded(page, "WEBP", xmp=note, icc_profile=note),
        encoded(page, "GIF", comment=note),
    ):
        assert len(header(file).file) < 10_000 < len(file)
    # The directory at the end has no tag of them.
    noted = header(encoded(page, "TIFF", tiffinfo={270: "x" * 1000, 700: note}))
    with Image.open(io.BytesIO(noted.file)) as image:
        assert not {270, 700} & set(image.tag_v2)  # type: ignore[attr-defined]


def deep(kind: str, highest: int, **options: Any) -> bytes:
    """Return an image of 16 bits with numbers up to `highest`, the last pixel."""
    levels = LEVELS * (highest / LEVELS.max())
    return encoded(Image.fromarray(levels.astype(np.uint16)), kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("highest", "bits"), [(900, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (65535, 16)]
)
def test_bits_that_an_image_uses(kind: str, highest: int, bits: int) -> None:
    found = header(deep(kind, highest))
    assert (found.bits, used_bits(found)) == (16, bits)
    # A digit is found by contrast; a training image is read as the others of its data set.
    assert decode(found)[-1, -1] == round(255 * highest / (2**bits - 1))
    assert np.asarray(decode_picture(found))[-1, -1] == round(highest / 257)


def test_the_form_of_a_model_has_the_white_of_its_training_images() -> None:
    form = PictureForm(height=40, width=60, channels=1, bit_depth=12)
    assert form.decode(header(deep("PNG", 4095)))[-1, -1] == 255
    assert form.decode(header(deep("PNG", 2048)))[-1, -1] == 128
    assert form.decode(header(deep("PNG", 65535)))[-1, -1] == 255
    assert np.array_equal(form.decode(header(encoded(NOISE.convert("L")))), NOISE.convert("L"))
    # As stored by earlier versions.
    assert PictureForm.model_validate({"height": 4, "width": 5, "channels": 1}).bit_depth == 16


def deep_rgb(top: int) -> bytes:
    """Return a PNG file of one row of two pixels with 16 bits per colour: black and `top`."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    row = b"\0" + struct.pack(">6H", 0, 0, 0, top, top, top)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )


def test_colours_of_fewer_bits_are_stretched() -> None:
    found = header(deep_rgb(4095))
    assert used_bits(found) == 12
    assert np.asarray(decode_picture(found, 12)).tolist() == [[[0] * 3, [255] * 3]]
    assert np.asarray(decode_picture(found, 16)).tolist() == [[[0] * 3, [15] * 3]]
    assert used_bits(header(deep_rgb(65535))) == 16


def test_sixteen_bits_from_white_to_black() -> None:
    file = bytearray(deep("TIFF", 65535))
    at = file.index(struct.pack("<HHIH", 262, 3, 1, 1))
    file[at + 8] = 0
    pixels = np.asarray(decode_picture(header(bytes(file))))
    assert (pixels[0, 0], pixels[-1, -1]) == (255, 0)


def test_faint_digits_of_twelve_bits_are_found() -> None:
    page = 4095 - np.asarray(seven(), np.uint16) * 16
    shown = ImageForm().decode(header(encoded(Image.fromarray(page.astype(np.uint16)))))
    assert difference(shown, ImageForm().decode(header(encoded(seven())))) < 4
