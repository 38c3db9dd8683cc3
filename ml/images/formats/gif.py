"""GIF files, of which the first frame is read."""

from collections.abc import Iterator
from struct import unpack_from
from typing import Final

from PIL.GifImagePlugin import GifImageFile

from ml.images.formats.base import COLOUR_BYTES, MAX_PARTS, ImageHeader, are_grey, corrupt

SIGNATURE: Final = b"GIF8"
_CONTROL: Final = 0xF9
"""Label of the extension that names the transparent colour."""
_EXTENSION, _IMAGE, _END = b"!", b",", b";"
_HAS_PALETTE: Final = 0x80


def read(file: bytes) -> ImageHeader:
    """Read the header of a GIF file. What is kept of it ends with its first frame.

    Raises:
        Invalid: it is corrupt.
    """
    if len(file) < 13:
        raise corrupt("its header is missing")
    screen = unpack_from("<HH", file, 6)
    position = 13 + _palette_bytes(file[10])
    palette, control = file[13:position], b""
    # A writer fills its blocks, of up to 255 bytes: more of them than this are no picture.
    blocks = iter(range(MAX_PARTS + len(file) // 16))
    for start, end in _extensions(file, position, blocks):
        if file[start + 1] == _CONTROL:
            control = file[start:end]
        position = end
    if not file.startswith(_IMAGE, position) or position + 10 > len(file):
        raise corrupt("it has no pixels")
    left, top, width, height, flags = unpack_from("<HHHHB", file, position + 1)
    local = _palette_bytes(flags)
    if local:
        palette = file[position + 10 : position + 10 + local]
    end = _after_blocks(file, position + 11 + local, blocks)
    kept = file[: 13 + _palette_bytes(file[10])], control, file[position:end], _END
    return ImageHeader(
        max(screen[0], left + width),
        max(screen[1], top + height),
        is_grey=are_grey(palette),
        pixel_bytes=COLOUR_BYTES,
        file=b"".join(kept),
        reader=GifImageFile,
        has_more=_has_frame(file, end, blocks),
    )


def _extensions(file: bytes, position: int, blocks: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end of the extensions that begin at `position`."""
    while position + 1 < len(file) and file.startswith(_EXTENSION, position):
        end = _after_blocks(file, position + 2, blocks)
        yield position, end
        position = end


def _has_frame(file: bytes, position: int, blocks: Iterator[int]) -> bool:
    for _, end in _extensions(file, position, blocks):
        position = end
    return file.startswith(_IMAGE, position)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & _HAS_PALETTE else 0


def _after_blocks(file: bytes, position: int, blocks: Iterator[int]) -> int:
    """Return the end of a chain of blocks, the last of which is empty. Each takes one of `blocks`.

    Raises:
        Invalid: there are none left.
    """
    for _ in blocks:
        if position >= len(file):
            return len(file)
        size = file[position]
        position += 1 + size
        if not size:
            return position
    raise corrupt("it has too many blocks")
