"""The data directory, locked by one service at a time."""

import fcntl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from service.readiness import Finding

PROBE_BYTES = 256 * 1024
"""Size of the probe: about what a checkpoint or the write-ahead log needs next."""


class DataDirError(Exception):
    """The data directory cannot be used; the message says why."""


def check_writable(data_dir: Path) -> None:
    """Check that the data directory can be written.

    Raises:
        DataDirError: it cannot be written.
    """
    try:
        with TemporaryFile(dir=data_dir) as file:
            file.write(b"\0" * PROBE_BYTES)
    except OSError as error:
        where = data_dir.resolve()
        raise DataDirError(f"cannot write to the data directory {where}: {error}") from error


def findings(data_dir: Path) -> Iterator[Finding]:
    """Check that the data directory can be written."""
    try:
        check_writable(data_dir)
    except DataDirError as error:
        yield Finding(str(error), blocking=True)


def check_private(data_dir: Path) -> Iterator[str]:
    """Yield a warning if other users may read the data directory, which an operator may want."""
    mode = stat.S_IMODE(data_dir.stat().st_mode)
    if mode & 0o077:
        where = data_dir.resolve()
        yield (
            f"other users of this machine may open the data directory {where} (mode {mode:04o}); "
            f"unless that is intended: chmod 700 {where}"
        )


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Create the directory if needed and lock it; the kernel unlocks it when the process ends.

    Raises:
        DataDirError: another service holds the lock, or the directory cannot be written.
    """
    where = data_dir.resolve()
    try:
        where.mkdir(parents=True, exist_ok=True)
        file = (where / "lock").open("w")
    except OSError as error:
        raise DataDirError(f"cannot write to the data directory {where}: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirError(
                f"another epochd uses {where}; stop it, or set EPOCHD_DATA_DIR to another directory"
            ) from None
        yield
