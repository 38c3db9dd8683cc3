"""Files packed with gzip."""

import gzip
import zlib
from pathlib import Path

from ml.errors import Invalid
from ml.ingest.zip_safety import MAX_RATIO, SMALL_BYTES

MIB = 1024 * 1024
MAX_BYTES = 4096 * MIB
"""Maximum unpacked size."""


def unpack(source: Path, copy: Path) -> Path:
    """Write the content of the gzip file `source` to `copy`, and return `copy`.

    Raises:
        Invalid: the file is corrupt, or its content too large.
    """
    packed_bytes, size = source.stat().st_size, 0
    most = min(MAX_RATIO * packed_bytes + SMALL_BYTES, MAX_BYTES)
    try:
        with gzip.open(source) as packed, copy.open("wb") as file:
            while chunk := packed.read(MIB):
                size += len(chunk)
                if size > most:
                    raise Invalid(
                        f"would unpack from {packed_bytes:,} to over {most:,} bytes; send it "
                        "unpacked, or in parts"
                    )
                file.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Invalid(f"is a truncated or corrupt gzip file; send it again: {error}") from None
    return copy
