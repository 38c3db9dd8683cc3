"""Image files become grey pixels, whatever their mode; other files are refused."""

import io
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from ml.errors import Invalid
from ml.images.decode import PictureForm, decode
from ml.images.header import read_header
from tests.ml.images.drawings import difference, encoded, read, seven


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_any_mode_gives_the_same_grey(mode: str) -> None:
    grey = read(encoded(seven().convert(mode)))

    assert grey.dtype == np.uint8
    assert np.array_equal(grey, np.asarray(seven()))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_any_mode_gives_nearly_the_same_grey(mode: str) -> None:
    grey = read(encoded(seven().convert(mode), "JPEG", quality=95))

    assert difference(grey, np.asarray(seven())) < 1


def test_colours_become_their_luminance() -> None:
    grey = read(encoded(Image.new("RGB", (3, 2), (0, 255, 0))))

    assert grey.tolist() == [[150] * 3] * 2


def test_sixteen_bit_images_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)

    assert read(encoded(Image.fromarray(deep))).tolist() == [[0, 100, 255]]


def test_transparent_colour_key_of_a_sixteen_bit_image_is_applied() -> None:
    deep = np.array([[7, 7, 257 * 200]], np.uint16)

    assert read(encoded(Image.fromarray(deep), transparency=257 * 200)).tolist() == [[0, 0, 255]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(kind: str) -> None:
    stored_lying = seven(size=(200, 280), at=(40, 60)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6

    grey = read(encoded(stored_lying, kind, exif=exif))

    assert grey.shape == (280, 200)
    assert difference(grey, np.asarray(seven(size=(200, 280), at=(40, 60)))) < 1


@pytest.mark.parametrize(("foreground", "ground"), [(0, 255), (60, 255), (255, 0), (200, 0)])
def test_transparent_canvas_contrasts_with_the_strokes(foreground: int, ground: int) -> None:
    canvas = Image.new("RGBA", (280, 280), (foreground, foreground, foreground, 0))
    canvas.putalpha(seven(ground=0, foreground=255))

    grey = read(encoded(canvas))

    assert np.array_equal(grey, np.asarray(seven(ground=ground, foreground=foreground)))


def test_half_transparent_pixels_are_blended() -> None:
    canvas = Image.new("LA", (2, 1), (0, 255))
    canvas.putpixel((1, 0), (0, 51))

    assert read(encoded(canvas)).tolist() == [[0, 204]]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_transparent_colour_key_is_applied(mode: str) -> None:
    page = seven(ground=0, foreground=255).convert(mode)

    grey = read(encoded(page, transparency=page.getpixel((0, 0))))

    assert grey[0, 0] == 0
    assert grey.max() == 255
    on_white = read(encoded(seven(ground=9, foreground=0), transparency=9))
    assert on_white[0, 0] == 255


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG file without pixels whose header declares an image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


# Pillow refuses the first, warns about the second, and accepts the third.
@pytest.mark.parametrize("side", [30_000, 12_000, 1_001])
def test_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Invalid, match=rf"too large: {side}x{side} is {side * side} .* {10**6}"):
            read(png_header(side, side))


def test_size_limit_is_inclusive() -> None:
    data = encoded(seven(size=(30, 20)))

    assert decode(read_header(data, max_pixels=600)).shape == (20, 30)
    with pytest.raises(Invalid, match="30x20"):
        read_header(data, max_pixels=599)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert read(data).shape == (64, 64)

    with pytest.raises(Invalid, match="truncated or corrupt"):
        read(data[: int(share * len(data))])


def test_corrupt_chunk_is_refused() -> None:
    data = bytearray(encoded(seven()))
    data[data.index(b"IDAT") + 12] ^= 0xFF

    with pytest.raises(Invalid, match="truncated or corrupt"):
        read(bytes(data))


def test_corrupt_header_checksum_is_refused() -> None:
    data = bytearray(encoded(seven()))
    data[29] ^= 0xFF

    with pytest.raises(Invalid, match="truncated or corrupt"):
        read(bytes(data))


def test_flipped_bytes_raise_only_invalid() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG"):
        whole = encoded(seven(size=(40, 40), at=(10, 8), tall=24, pen=4), kind, exif=exif)
        for position in random.integers(0, len(whole), 200):
            data = bytearray(whole)
            data[position] ^= int(random.integers(1, 256))
            with suppress(Invalid):
                assert read(bytes(data)).dtype == np.uint8


@pytest.mark.parametrize(
    "data",
    [b"<html>no image</html>", b"\x00", encoded(seven(), "PPM")],
    ids=["text", "null", "ppm"],
)
def test_other_file_types_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="not a PNG, JPEG, GIF, WebP, TIFF or BMP image"):
        read(data)


def test_empty_file_is_refused() -> None:
    with pytest.raises(Invalid, match="empty"):
        read(b"")


def test_pillow_warnings_do_not_leak() -> None:
    broken_exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"
    data = encoded(seven(), "JPEG", exif=broken_exif)
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(io.BytesIO(data)).getexif().get(0x0112)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(data).shape == (280, 280)


def test_forms_of_earlier_artifacts_are_read() -> None:
    form = PictureForm(height=4, width=5, channels=3)
    assert PictureForm.model_validate({"height": 4, "width": 5, "planes": 3}) == form
    assert PictureForm.model_validate(form.model_dump()) == form
