"""Child processes run their module, and none outlives its parent."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service import processes
from tests.conftest import REPOSITORY

OOM_SCORE = Path("/proc/self/oom_score_adj")
ECHO = """
import os, sys
from service.processes import take_config

class Said(str): ...

assert sys.modules[Said.__module__].Said is Said
config = take_config() if os.environ.get("COLOUR") else None
assert "EPOCHD_PROCESS_CONFIG" not in os.environ
print(config, os.environ.get("COLOUR"), os.getsid(0) == os.getpid(), os.getppid())
assert os.environ.get("COLOUR") is None or os.environ["PYTHONSAFEPATH"] == "1"
print(open("/proc/self/oom_score_adj").read(), end="")
print(sys.stdin.readline(), end="")
sys.exit(3)
"""
BUSY = """
print("busy", flush=True)
while True:
    pass
"""
PARENT = """
import asyncio
from service import processes

async def main():
    child = await processes.start("busy")
    print(await child.stdout.readline(), flush=True)
    await child.wait()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"echo": ECHO, "busy": BUSY, "parent": PARENT}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REPOSITORY)]))


def test_child_runs_its_module_as_main_in_its_own_session() -> None:
    async def run() -> tuple[bytes, int | None]:
        child = await processes.start(
            "echo", config="s3cret", environment={"COLOUR": "red"}, oom_score=300
        )
        assert b"s3cret" not in Path(f"/proc/{child.pid}/cmdline").read_bytes()
        said = await child.communicate(b"hello\n")
        return said, child.returncode

    said, code = asyncio.run(run())
    score = min(1000, int(OOM_SCORE.read_text()) + 300)
    assert said.decode() == f"s3cret red True {os.getpid()}\n{score}\nhello\n"
    assert code == 3


@pytest.mark.parametrize("name", ["queue", "random", "json", "signal", "echo"])
def test_child_imports_nothing_from_the_working_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trapped = tmp_path / "trapped"
    trapped.mkdir()
    (trapped / f"{name}.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(trapped)

    async def run() -> bytes:
        child = await processes.start("echo")
        return await child.communicate(b"hello\n")

    assert asyncio.run(run()).endswith(b"hello\n")
    child = processes.start_in_thread("echo")
    assert child.communicate(b"hello\n", timeout=120)[0].endswith(b"hello\n")


def test_cancelled_start_leaves_no_child() -> None:
    async def run() -> None:
        starting = asyncio.create_task(processes.start("busy"))
        while children() == before:
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert children() == before

    def children() -> list[str]:
        return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()

    before = children()
    asyncio.run(run())


def test_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "parent"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout
    assert b"busy" in parent.stdout.readline()
    parent.kill()
    # The child inherits standard error, which is closed when its last holder exits.
    parent.communicate(timeout=120)


def test_child_of_a_dead_parent_does_not_start() -> None:
    command = [sys.executable, "-m", "service.processes", str(os.getppid()), "0", "echo"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_child_outlives_its_starting_thread_and_ends_with_its_input() -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: started.append(processes.start_in_thread("echo")))
    thread.start()
    thread.join()
    [child] = started
    said, _ = child.communicate(b"", timeout=120)
    score = OOM_SCORE.read_text()
    assert said.decode() == f"None None True {os.getpid()}\n{score}"


def test_exit_codes_are_described() -> None:
    assert processes.describe_exit(1) == "exit code 1"
    assert processes.describe_exit(-9) == "killed by SIGKILL"
    assert processes.describe_exit(-999) == "exit code -999"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_pipes_are_closed_once(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second time may close a file that another thread has opened meanwhile."""
    pipes: list[processes._Pipe] = []
    make = processes._Pipe.__init__

    def note(pipe: processes._Pipe, *arguments: Any) -> None:
        make(pipe, *arguments)
        pipes.append(pipe)

    async def run() -> bytes:
        child = await processes.start("platform")
        return await child.communicate(b"")

    monkeypatch.setattr(processes._Pipe, "__init__", note)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(run())
    ends = [pipe.fileno() for pipe in pipes]
    assert len(ends) == 2
    for end in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)
    # Files that happen to get the same numbers.
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(64)]
    for pipe in pipes:
        pipe.close()
    for other in others:
        os.close(other)
