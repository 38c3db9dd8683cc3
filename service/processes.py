"""Child processes: each runs a Python module and ends with the service, even if that is killed.

Each has a session of its own, so that Ctrl-C in the terminal reaches only the service, which then
stops its children.
"""

import asyncio
import ctypes
import os
import runpy
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence


async def start(
    module: str,
    *arguments: str,
    piped: bool = True,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Run a module as a child. On Linux, the kernel kills it when this process ends; elsewhere, the
    child must exit when its standard input closes.

    With `piped`, this process writes to the child's standard input and reads its standard output.
    `environment` is added to this process's environment.

    The kernel kills the child when the thread that started it ends: call this on an event loop that
    lasts as long as the process.
    """
    pipe = PIPE if piped else None
    return await asyncio.create_subprocess_exec(
        *_command("service.processes", str(os.getpid()), module, *arguments),
        stdin=pipe,
        stdout=pipe,
        env=os.environ | (environment or {}),
        pass_fds=pass_fds,
        start_new_session=True,
    )


def start_in_thread(module: str) -> "subprocess.Popen[bytes]":
    """Run a module as a piped child, which must exit when its standard input closes. Unlike with
    `start`, the calling thread may end before the child does."""
    return subprocess.Popen(_command(module), stdin=PIPE, stdout=PIPE, start_new_session=True)


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, even while C code blocks Python."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def main(parent: str, module: str, *arguments: str) -> None:
    """Run the module as `python -m` does, in a child started by `start`."""
    _die_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
