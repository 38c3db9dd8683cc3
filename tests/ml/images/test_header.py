"""Headers of image files, and files that are small but expensive to read."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml.errors import Invalid
from ml.images.decode import PictureForm, decode, decode_picture
from ml.images.formats.base import MAX_PARTS, REDUCED_PIXELS, ImageHeader
from ml.images.formats.jpeg import MAX_SCANS
from ml.images.header import read_header
from ml.images.ink import ImageForm

MIB = 1024 * 1024
MAX_PIXELS = 50_000_000


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def header(file: bytes) -> ImageHeader:
    return read_header(file, max_pixels=MAX_PIXELS)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    """Insert chunks after the header, which ends at byte 33."""
    return png[:33] + chunks + png[33:]


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    return jpeg[:2] + segments + jpeg[2:]


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


@pytest.mark.parametrize(
    ("mode", "kind", "is_grey"),
    [
        *((mode, "PNG", True) for mode in ("1", "L", "LA", "I;16")),
        *((mode, "PNG", False) for mode in ("P", "RGB", "RGBA")),
        ("L", "JPEG", True),
        ("RGB", "JPEG", False),
        ("CMYK", "JPEG", False),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_header_tells_size_and_colours(
    mode: str, kind: str, is_grey: bool, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = NOISE.convert("L").convert(mode) if is_grey else NOISE.convert(mode)
    found = header(encoded(image, kind, exif=exif))

    picture = np.asarray(decode_picture(found))
    assert found.size == picture.shape[:2] == decode(found).shape
    assert found.is_grey == is_grey == (picture.ndim == 2)
    assert found.orientation == orientation


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_any_byte_order(order: str) -> None:
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    directory = struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    jpeg = with_segments(encoded(NOISE, "JPEG"), segment(0xE1, b"Exif\0\0" + mark + directory))
    assert header(jpeg).orientation == 6


def test_orientation_in_xmp() -> None:
    xmp = b"http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation='1'/>"
    xmp = xmp.replace(b"'1'", b'"8"')
    assert header(with_segments(encoded(NOISE, "JPEG"), segment(0xE1, xmp))).orientation == 8


@pytest.mark.parametrize(
    "exif", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    assert header(with_chunks(encoded(NOISE), chunk(b"eXIf", exif))).orientation == 1


def exif_bomb(size: int) -> bytes:
    """EXIF data with 65,535 entries, each of which claims all `size` bytes as its value."""
    entry = b"".join(struct.pack("<HHII", tag, 7, size - 8, 8) for tag in range(1, 65_536))
    directory = struct.pack("<IH", 8, 65_535) + entry
    return b"II*\0" + directory + bytes(size - 4 - len(directory))


def test_metadata_is_never_expanded() -> None:
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(60 * MIB)))
    profile = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(60 * MIB)))
    bomb = exif_bomb(2 * MIB)
    png = with_chunks(encoded(NOISE), text * 3 + profile + chunk(b"eXIf", bomb))
    parts = b"".join(
        segment(0xE1, b"Exif\0\0" + bomb[start : start + 65_000])
        for start in range(0, len(bomb), 65_000)
    )
    jpeg = with_segments(encoded(NOISE, "JPEG"), parts)
    for file in (png, jpeg):
        tracemalloc.start()
        assert decode(header(file)).shape == (40, 60)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * len(file) + MIB


@pytest.mark.parametrize(
    ("file", "part"),
    [
        (with_chunks(encoded(NOISE), chunk(b"prIv", b"") * (MAX_PARTS + 1)), "chunks"),
        (with_segments(encoded(NOISE, "JPEG"), segment(0xFE, b"") * (MAX_PARTS + 1)), "segments"),
    ],
)
def test_a_flood_of_parts_is_refused(file: bytes, part: str) -> None:
    with pytest.raises(Invalid, match=f"over 65,536 {part}"):
        header(file)


def test_a_flood_of_scans_is_refused() -> None:
    jpeg = encoded(NOISE, "JPEG", progressive=True)
    assert decode(header(jpeg)).shape == (40, 60)
    last = jpeg.rindex(b"\xff\xda")
    with pytest.raises(Invalid, match=f"scans, at most {MAX_SCANS} are allowed"):
        header(jpeg[:last] + jpeg[last:-2] * (MAX_SCANS + 1) + jpeg[-2:])


@pytest.mark.parametrize(
    "file",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", bytes(30)),
        with_chunks(encoded(NOISE), b"")[:40],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        encoded(NOISE, "JPEG")[:200],
        b"\xff\xd8" + segment(0xC0, b"\x08") + segment(0xDA, b"") + b"\xff\xd9",
    ],
)
def test_damaged_files(file: bytes) -> None:
    with pytest.raises(Invalid, match="truncated or corrupt"):
        decode(header(file))


def test_empty_image() -> None:
    png = encoded(NOISE)
    size = struct.pack(">II", 0, 40)
    with pytest.raises(Invalid, match="it has no pixels"):
        header(png[:16] + size + png[24:])


def large_photo(kind: str, **options: Any) -> bytes:
    """A photo of 24 megapixels, of a dark stroke on a light ground."""
    image = Image.new("RGB", (6000, 4000), (230, 220, 210))
    image.paste((20, 30, 40), (2500, 1000, 2900, 3000))
    return encoded(image, kind, **options)


def test_very_large_photos_are_decoded_at_half_their_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = large_photo("JPEG", exif=exif)
    assert header(photo).pixels > REDUCED_PIXELS
    form = ImageForm()
    reduced = form.header(photo, max_pixels=MAX_PIXELS)
    assert (reduced.reduction, reduced.nbytes) == (2, header(photo).nbytes // 4)
    assert decode(reduced).shape == (3000, 2000)
    ours, exact = form.decode(reduced), form.decode(header(photo))
    assert np.abs(ours.astype(int) - exact).mean() < 2
    picture = PictureForm(height=64, width=64, channels=3)
    small = picture.decode(picture.header(photo, max_pixels=MAX_PIXELS)).astype(int)
    assert np.abs(small - picture.decode(header(photo))).mean() < 1
    native = PictureForm(height=4000, width=6000, channels=3)
    assert native.header(photo, max_pixels=MAX_PIXELS).reduction == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("mode", "stored"), [("L", 1), ("RGB", 4)])
def test_memory_stays_within_what_the_header_announces(kind: str, mode: str, stored: int) -> None:
    photo = header(encoded(Image.new(mode, (3000, 2000)), kind))
    tracemalloc.start()
    decode(photo)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Pillow's own memory is not traced.
    assert peak + stored * photo.pixels <= photo.nbytes
