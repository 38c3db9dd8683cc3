"""Protection against corrupt and malicious zip files."""

import errno
import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from ml.errors import Invalid

BROKEN = (
    BadZipFile,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)

MAX_RATIO = 100
"""Maximum ratio of unpacked to packed size; numbers and images stay far below."""
MAX_RAW_RATIO = 1000
"""The same for images that are not compressed themselves: a page with a few strokes has about 500.
Their pixels are limited."""
RAW_EXTENSIONS = (".bmp", ".dib", ".tif", ".tiff")
SMALL_BYTES = 16 * 1024 * 1024
"""Unpacked size below which any ratio is allowed."""


def check_archive(source: Path) -> None:
    """Check that a zip file is safe to unpack. The declared sizes suffice: `zipfile` reads no
    member beyond its own.

    Raises:
        Invalid: the file is a zip bomb or an Office document.
    """
    with ZipFile(source) as archive:
        members = archive.infolist()
    if any(member.filename == "[Content_Types].xml" for member in members):
        raise Invalid("is an Office document; save a sheet as CSV")
    unpacked, size = sum(member.file_size for member in members), source.stat().st_size
    is_raw = [member.filename.lower().endswith(RAW_EXTENSIONS) for member in members]
    raw = sum(member.file_size for member, raw in zip(members, is_raw, strict=True) if raw)
    for found, ratio in ((unpacked - raw, MAX_RATIO), (unpacked, MAX_RAW_RATIO)):
        if found > ratio * size + SMALL_BYTES:
            raise Invalid(
                f"would unpack from {size:,} to {found:,} bytes, over {ratio} times as many; "
                "compress it less"
            )


@contextmanager
def refusing_broken() -> Iterator[None]:
    """Turn the exceptions of `zipfile` into `Invalid`.

    Raises:
        Invalid: the file is corrupt, encrypted, or compressed by an unsupported method.
    """
    try:
        yield
    except BROKEN as error:
        raise Invalid(f"is a corrupt zip file: {error}") from None
    except OSError as error:
        # Disk errors have another errno.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise Invalid(f"is a corrupt zip file: {error}") from None
