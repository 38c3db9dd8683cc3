"""A Unix domain socket to listen on, for this user only."""

import errno
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BACKLOG = 2048
MODE = 0o600


class SocketPathError(Exception):
    """The socket cannot be created; the message says why."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen at `path`, and delete it in the end. A socket left behind by a killed service is
    replaced.

    Raises:
        SocketPathError: the path is in use, is another kind of file, or cannot be created.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with bound:
        try:
            _remove_stale(path)
            bound.bind(str(path))
            path.chmod(MODE)
            bound.listen(BACKLOG)
        except OSError as error:
            raise SocketPathError(f"cannot listen on {path}: {error}") from error
        ours = path.stat().st_ino
        with _sigterm_delayed():
            try:
                yield bound
            finally:
                with suppress(OSError):
                    if path.stat().st_ino == ours:
                        path.unlink()


@contextmanager
def _sigterm_delayed() -> Iterator[None]:
    """Let the clean-up within the `with` block run before SIGTERM ends the process: the server,
    which stops at the signal, raises it again when it has stopped."""
    received: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
    for number in received:
        signal.raise_signal(number)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "it exists and is not a socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")
