"""TIFF files, of which the first page is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import calcsize, pack, unpack_from
from typing import Final

from PIL.TiffImagePlugin import TiffImageFile

from ml.errors import Invalid
from ml.images.formats.base import COLOUR_BYTES, MAX_PARTS, ImageHeader, corrupt

ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}
"""Byte order of integers, by signature."""
LARGE: Final = (b"II+\0", b"MM\0+")
"""Signatures of BigTIFF."""

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES = 273, 274, 277
_STRIP_ROWS, _STRIP_SIZES, _PLANES = 278, 279, 284
_COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 320, 322, 323, 324, 325
_SAMPLE_FORMAT, _RAW_VERSION = 339, 50706
_KEPT: Final = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _STRIP_OFFSETS, _SAMPLES),
    *(_STRIP_ROWS, _STRIP_SIZES, _PLANES, 292, 293, 317, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT),
    *(_TILE_OFFSETS, _TILE_SIZES, 332, 338, _SAMPLE_FORMAT, 347, 530),
}
"""Tags that determine the pixels: also fill order, options of fax, predictor, ink set, extra
samples, tables of JPEG, and subsampling."""
_TYPES: Final = {1: "B", 3: "H", 4: "I", 7: "B"}
_LONGEST: Final = 65_536
"""Maximum bytes of the value of a tag other than of strips and tiles."""

_JPEG: Final = 7
_COMPRESSIONS: Final = {1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946}
"""None, three of fax, LZW, JPEG, Deflate, PackBits, and Deflate as it was first numbered."""
_GREY: Final = {0, 1}
_WHITE_IS_ZERO, _PALETTE = 0, 3
_UNSIGNED: Final = {1, 4}
"""Sample formats: whole numbers from 0, undefined."""
_MAX_BITS: Final = 16
_MAX_SAMPLES: Final = 8
_SCAN: Final = b"\xff\xda"
_SCANS: Final = 4
"""Maximum scans of each JPEG within the file: one a channel."""
_SEPARATE: Final = 2
"""Each channel in parts of its own."""
_SMALL_TILE: Final = 1024 * 1024


@dataclass(frozen=True)
class _Directory:
    """The directory of a page: the tags that are kept, each with the bytes of its entry."""

    values: Mapping[int, tuple[int, ...]]
    entries: tuple[bytes, ...]
    has_next: bool

    def __getitem__(self, tag: int) -> tuple[int, ...]:
        return self.values.get(tag, ())

    def one(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        return self[tag][0] if self[tag] else default


def read(file: bytes) -> ImageHeader:
    """Read the header of a TIFF file. What is kept of it has a directory of its own at the end, of
    those tags that determine the pixels.

    Raises:
        Invalid: it is corrupt, or of a kind that has no pixels of 1 to 16 bits.
    """
    if file[:4] in LARGE:
        raise Invalid("the image is a BigTIFF file; save it as TIFF or PNG")
    order = ORDERS[file[:4]]
    page = _directory(file, order)
    width, height = page.one(_WIDTH, 0), page.one(_HEIGHT, 0)
    photometric, bits = page.one(_PHOTOMETRIC, 0), max(page[_BITS], default=1)
    samples = page.one(_SAMPLES, 1)
    _check(page, bits, samples)
    _check_parts(file, page, width, height, samples)
    start = len(file) + len(file) % 2
    directory = pack(f"{order}H", len(page.entries)) + b"".join(page.entries) + bytes(4)
    kept = file[:4], pack(f"{order}I", start), memoryview(file)[8:], bytes(len(file) % 2), directory
    orientation = page.one(_ORIENTATION, 1)
    return ImageHeader(
        width,
        height,
        is_grey=photometric in _GREY or (photometric == _PALETTE and _is_grey(page)),
        # A strip may be the whole image, before it is converted.
        pixel_bytes=COLOUR_BYTES + -(-samples * bits // 8),
        file=b"".join(kept),
        reader=TiffImageFile,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        bits=bits,
        is_inverted=photometric == _WHITE_IS_ZERO and bits > 8,
        has_more=page.has_next,
    )


def _directory(file: bytes, order: str) -> _Directory:
    (start,) = unpack_from(f"{order}I", file, 4)
    (count,) = unpack_from(f"{order}H", file, start)
    values: dict[int, tuple[int, ...]] = {}
    entries: list[bytes] = []
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = unpack_from(f"{order}HHI", file, at)
        is_read = tag in _KEPT or tag in (_SUBFILE, _ORIENTATION, _RAW_VERSION)
        if not is_read or kind not in _TYPES or tag in values:
            continue
        form = _TYPES[kind]
        size = calcsize(f"<{form}") * length
        many = tag in (_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES)
        if length > MAX_PARTS or (size > _LONGEST and not many):
            raise Invalid(f"the image has over {MAX_PARTS:,} parts, the maximum")
        (place,) = (at + 8,) if size <= 4 else unpack_from(f"{order}I", file, at + 8)
        values[tag] = unpack_from(f"{order}{length}{form}", file, place)
        if tag in _KEPT:
            entries.append(file[at : at + 12])
    (after,) = unpack_from(f"{order}I", file, start + 2 + 12 * count)
    entries.sort(key=lambda entry: unpack_from(f"{order}H", entry))
    return _Directory(values, tuple(entries), has_next=after != 0)


def _check(page: _Directory, bits: int, samples: int) -> None:
    """Refuse the kinds of pages that cannot be read rightly."""
    if page[_RAW_VERSION] or page.one(_SUBFILE, 0) & 1:
        raise Invalid("the image is a camera's raw file; export it as JPEG, PNG or TIFF")
    if (compression := page.one(_COMPRESSION, 1)) not in _COMPRESSIONS:
        raise Invalid(
            f"the image is a TIFF file of compression {compression}, which is not read; save it "
            "with LZW or Deflate"
        )
    if bits > _MAX_BITS or not _UNSIGNED.issuperset(page[_SAMPLE_FORMAT]):
        raise Invalid(
            "the image is a TIFF file of floats, signed or over 16-bit numbers, whose white is "
            "unknown; save it with 8 or 16 bits"
        )
    if samples > _MAX_SAMPLES:
        raise Invalid(f"the image has {samples:,} channels; at most {_MAX_SAMPLES} are allowed")


def _check_parts(file: bytes, page: _Directory, width: int, height: int, samples: int) -> None:
    """Refuse strips and tiles that take more to decode than their pixels."""
    wide, tall = page.one(_TILE_WIDTH, width), page.one(_TILE_HEIGHT, height)
    if wide * tall > max(width * height, _SMALL_TILE):
        raise corrupt("its tiles are larger than the image")
    if page[_STRIP_OFFSETS]:
        wide, tall = width, min(height, page.one(_STRIP_ROWS, height))
    if not wide or not tall:
        raise corrupt("it has no pixels, or parts without any")
    offsets = page[_STRIP_OFFSETS] or page[_TILE_OFFSETS]
    planes = samples if page.one(_PLANES, 1) == _SEPARATE else 1
    # Each further part would be decoded, over the others.
    if len(offsets) > -(-width // wide) * -(-height // tall) * planes:
        raise corrupt("it has more parts than fit")
    if page.one(_COMPRESSION, 1) != _JPEG:
        return
    sizes = page[_STRIP_SIZES] or page[_TILE_SIZES]
    for offset, size in zip(offsets, sizes, strict=True):
        if file.count(_SCAN, offset, offset + size) > _SCANS:
            raise Invalid(
                f"the image has a JPEG of over {_SCANS} scans, the maximum; save it with LZW or "
                "Deflate"
            )


def _is_grey(page: _Directory) -> bool:
    """Return whether the palette, all reds before all greens and all blues, is grey."""
    colours = page[_COLOUR_MAP]
    third = len(colours) // 3
    return colours[:third] == colours[third : 2 * third] == colours[2 * third :]
