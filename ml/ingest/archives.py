"""What a zip file that is broken may do to whoever reads it."""

import errno
import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from zipfile import BadZipFile

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
