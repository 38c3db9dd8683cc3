"""WebP files, of which the first frame is read."""

from collections.abc import Iterator
from struct import pack, unpack_from
from typing import Final

from PIL.WebPImagePlugin import WebPImageFile

from ml.errors import Invalid
from ml.images.formats.base import MAX_PARTS, ImageHeader, corrupt
from ml.images.formats.exif import EXIF, orientation, xmp_orientation

SIGNATURE: Final = b"RIFF"
FORM: Final = b"WEBP"
"""The form of the RIFF file, at byte 8."""
_PIXELS: Final = {b"VP8 ", b"VP8L"}
_ALPHA, _ANIMATION = 0x10, 0x02
"""Flags of the header of extended files."""
_PIXEL_BYTES: Final = 28
"""Two canvases and the frame of the decoder, the copy it hands out, and Pillow's image, each of 4
bytes, then as for other images."""


def read(file: bytes) -> ImageHeader:
    """Read the header of a WebP file.

    Raises:
        Invalid: it is corrupt, or has too many chunks.
    """
    canvas: tuple[int, int] | None = None
    parts: list[bytes] = []
    has_alpha = is_animated = has_frame = has_more = False
    turned = 1
    for name, body in _chunks(file):
        if name == b"VP8X" and len(body) >= 10 and not parts:
            has_alpha, is_animated = bool(body[0] & _ALPHA), bool(body[0] & _ANIMATION)
            canvas = _uint24(body, 4) + 1, _uint24(body, 7) + 1
        elif name == b"EXIF":
            turned = orientation(body[6:] if bytes(body[:6]) == EXIF else body)
        elif name == b"XMP " and turned == 1:
            turned = xmp_orientation(body)
        elif name in _PIXELS or name in (b"ALPH", b"ANIM", b"ANMF"):
            is_frame = name in _PIXELS or name == b"ANMF"
            if is_frame and has_frame:
                has_more = True
                continue
            has_frame |= is_frame
            canvas = canvas or _frame_size(name, body)
            parts.append(_chunk(name, body))
    if canvas is None or not has_frame:
        raise corrupt("it has no pixels")
    if has_alpha or is_animated:
        flags = (_ALPHA if has_alpha else 0) | (_ANIMATION if is_animated else 0)
        size = pack("<I", canvas[0] - 1)[:3] + pack("<I", canvas[1] - 1)[:3]
        parts.insert(0, _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size))
    content = FORM + b"".join(parts)
    return ImageHeader(
        *canvas,
        is_grey=False,
        pixel_bytes=_PIXEL_BYTES,
        file=SIGNATURE + pack("<I", len(content)) + content,
        reader=WebPImageFile,
        orientation=turned,
        has_more=has_more,
    )


def _chunks(file: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, position = memoryview(file), 12
    for _ in range(MAX_PARTS):
        if position + 8 > len(file):
            return
        name, size = unpack_from("<4sI", file, position)
        body = view[position + 8 : position + 8 + size]
        if len(body) < size:
            raise corrupt("it ends early")
        yield name, body
        position += 8 + size + size % 2
    raise Invalid(f"the image has over {MAX_PARTS:,} chunks, the maximum")


def _chunk(name: bytes, body: bytes | memoryview) -> bytes:
    return b"".join([name, pack("<I", len(body)), body, bytes(len(body) % 2)])


def _frame_size(name: bytes, body: memoryview) -> tuple[int, int] | None:
    """Return the size of a file that has no extended header."""
    if name == b"VP8 " and bytes(body[3:6]) == b"\x9d\x01\x2a" and len(body) >= 10:
        width, height = unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and bytes(body[:1]) == b"\x2f" and len(body) >= 5:
        (bits,) = unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _uint24(body: memoryview, at: int) -> int:
    return int.from_bytes(body[at : at + 3], "little")
