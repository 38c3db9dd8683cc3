"""Child processes: each runs a Python module and ends with the service, even if that is killed.

Each has a session of its own, so that Ctrl-C in the terminal reaches only the service, which then
stops its children. None imports from the working directory: a `queue.py` there would be executed.
"""

import asyncio
import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""`python -P` for the children of children."""
CONFIG = "EPOCHD_PROCESS_CONFIG"
"""Variable of a child's configuration."""
MAX_OOM_SCORE = 1000


async def start(
    module: str,
    *,
    config: str | None = None,
    piped: bool = True,
    stderr: int | None = None,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    oom_score: int = 0,
) -> "Child":
    """Run a module as a child. On Linux, the kernel kills it when this process ends; elsewhere, the
    child must exit when its standard input closes.

    The module gets `config` from `take_config`: unlike a command line, which every user of the
    machine can read, it may hold a password. With `piped`, this process writes to the child's
    standard input and reads its standard output. `environment` is added to this process's
    environment. When memory runs out, the kernel kills first the process with the highest
    `oom_score` (0 to 1000 above this process's own).

    The kernel kills the child when the thread that started it ends: call this on an event loop that
    lasts as long as the process.
    """
    pipe = PIPE if piped else None
    given = {} if config is None else {CONFIG: config}
    child = Child(
        subprocess.Popen(
            _command(os.getpid(), oom_score, module),
            stdin=pipe,
            stdout=pipe,
            stderr=stderr,
            env={**os.environ, **SAFE_PATH, **(environment or {}), **given},
            pass_fds=pass_fds,
            start_new_session=True,
        )
    )
    connecting = asyncio.create_task(child.connect())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # Nobody else knows of the child.
        await connecting
        child.kill()
        await child.wait()
        raise
    return child


class Child:
    """A child process on an event loop, used like `asyncio.subprocess.Process`.

    uvloop would start it by `fork`, which copies the page tables of this process and keeps every
    client waiting meanwhile; `subprocess` starts it by `vfork`, which does not.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.pid = process.pid
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        threading.Thread(target=self._await_end, name=f"child {self.pid}", daemon=True).start()

    async def connect(self) -> None:
        """Connect the pipes to the event loop."""
        process = self._process
        if process.stdin is not None:
            transport, protocol = await self._loop.connect_write_pipe(
                asyncio.streams.FlowControlMixin, _Pipe(process.stdin, self._loop)
            )
            self.stdin = asyncio.StreamWriter(transport, protocol, None, self._loop)
        self.stdout, self.stderr = [
            await self._reader(pipe) for pipe in (process.stdout, process.stderr)
        ]

    @property
    def returncode(self) -> int | None:
        """Exit code, negative after a signal; None while the process runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        await self._ended.wait()
        return self._process.returncode

    async def communicate(self, content: bytes) -> bytes:
        """Write `content` to the child's standard input, close that, and return its output."""
        assert self.stdin
        assert self.stdout
        with suppress(BrokenPipeError, ConnectionResetError):
            self.stdin.write(content)
            await self.stdin.drain()
        self.stdin.close()
        output = await self.stdout.read()
        await self.wait()
        return output

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self._process.kill()

    async def _reader(self, pipe: IO[bytes] | None) -> asyncio.StreamReader | None:
        if pipe is None:
            return None
        reader = asyncio.StreamReader()
        await self._loop.connect_read_pipe(lambda: _Output(reader), _Pipe(pipe, self._loop))
        return reader

    def _await_end(self) -> None:
        self._process.wait()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self.stdin is not None:
            self.stdin.close()
        self._ended.set()


class _Output(asyncio.StreamReaderProtocol):
    def eof_received(self) -> bool:
        """Have the loop close the pipe; asyncio does so in any case."""
        super().eof_received()
        return False


class _Pipe:
    """The end of a pipe that an event loop closes once.

    uvloop closes the descriptor itself, and then calls `close`. Between the two, another thread may
    have opened a file of the same number, which would be closed instead: one of the database's.
    """

    def __init__(self, file: IO[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = os.dup(file.fileno())
        file.close()
        self._is_ours = isinstance(loop, asyncio.BaseEventLoop)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor if the loop relies on it."""
        if self._is_ours:
            self._is_ours = False
            os.close(self._descriptor)


def start_in_thread(module: str, *, oom_score: int = 0) -> "subprocess.Popen[bytes]":
    """Run a module as a piped child, which must exit when its standard input closes. Unlike with
    `start`, the calling thread may end before the child does."""
    return subprocess.Popen(
        _command(None, oom_score, module),
        stdin=PIPE,
        stdout=PIPE,
        env=os.environ | SAFE_PATH,
        start_new_session=True,
    )


def take_config() -> str:
    """Return the configuration of this child, and remove it from the environment of its own
    children."""
    return os.environ.pop(CONFIG)


def describe_exit(code: int) -> str:
    """Describe a process's exit code, which is negative after a signal."""
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _command(parent: int | None, oom_score: int, module: str) -> list[str]:
    wrapper = [sys.executable, "-P", "-m", "service.processes"]
    return [*wrapper, str(parent or 0), str(oom_score), module]


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, even while C code blocks Python."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _raise_oom_score(by: int) -> None:
    """Make this process a likelier victim when memory runs out; every process may do so."""
    file = Path("/proc/self/oom_score_adj")
    # Other systems have no such file, and containers may forbid the change.
    with suppress(OSError):
        file.write_text(str(min(MAX_OOM_SCORE, int(file.read_text()) + by)))


def main(parent: str, oom_score: str, module: str) -> None:
    """Run the module as `python -m` does, in a child."""
    if parent != "0":
        _die_with(int(parent))
    if int(oom_score):
        _raise_oom_score(int(oom_score))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
