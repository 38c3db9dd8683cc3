"""What a zip file that is broken, or made to do harm, may do to whoever reads it."""

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
"""By which a zip may grow when it is unpacked: numbers and images grow by far less."""
SMALL_BYTES = 16 * 1024 * 1024
"""Up to this it may grow by any ratio."""


def check_archive(source: Path) -> None:
    """Do nothing for a zip file that can be unpacked without harm. No member can be more than what
    is told here: `zipfile` stops there.

    Raises:
        Invalid: it is a bomb, or a document of another kind.
    """
    with ZipFile(source) as archive:
        members = archive.infolist()
    if any(member.filename == "[Content_Types].xml" for member in members):
        raise Invalid("is an Office document; save a sheet as CSV")
    unpacked, size = sum(member.file_size for member in members), source.stat().st_size
    if unpacked > MAX_RATIO * size + SMALL_BYTES:
        raise Invalid(
            f"would unpack from {size:,} to {unpacked:,} bytes, over {MAX_RATIO} times as many"
        )


@contextmanager
def refusing_broken() -> Iterator[None]:
    """Read a zip file.

    Raises:
        Invalid: it is broken, encrypted, or compressed in a way that is not known here.
    """
    try:
        yield
    except BROKEN as error:
        raise Invalid(f"is a broken zip file: {error}") from None
    except OSError as error:
        # What is wrong with the disk has a number of its own.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise Invalid(f"is a broken zip file: {error}") from None
