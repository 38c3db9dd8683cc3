"""The data directory: one service at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

PROBE_BYTES = 256 * 1024
"""What a checkpoint or the database's log may well need next."""


class DataDirError(Exception):
    """The data directory cannot be used; the message says why."""


def check_writable(data_dir: Path) -> None:
    """Do nothing where some more can be written.

    Raises:
        DataDirError: nothing can.
    """
    try:
        with TemporaryFile(dir=data_dir) as file:
            file.write(b"\0" * PROBE_BYTES)
    except OSError as error:
        where = data_dir.resolve()
        raise DataDirError(f"cannot write to the data directory {where}: {error}") from error


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the directory, made if need be, for this process; the kernel lets go however it ends.

    Raises:
        DataDirError: another service holds it, or it cannot be written.
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
                f"another epochd runs on {where}; stop it, or set EPOCHD_DATA_DIR"
            ) from None
        yield
