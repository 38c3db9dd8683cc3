"""Child processes run their module, and none outlives its parent."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service import processes
from tests.conftest import REPOSITORY

ECHO = """
import os, sys

class Said(str): ...

assert sys.modules[Said.__module__].Said is Said
print(sys.argv[1:], os.environ.get("COLOUR"), os.getsid(0) == os.getpid(), os.getppid())
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
        child = await processes.start("echo", "one", "2", environment={"COLOUR": "red"})
        output, _ = await child.communicate(b"hello\n")
        return output, child.returncode

    output, code = asyncio.run(run())
    assert output.decode() == f"['one', '2'] red True {os.getpid()}\nhello\n"
    assert code == 3


def test_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "parent"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout
    assert b"busy" in parent.stdout.readline()
    parent.kill()
    # The child inherits standard error, which is closed when its last holder exits.
    parent.communicate(timeout=30)


def test_child_of_a_dead_parent_does_not_start() -> None:
    command = [sys.executable, "-m", "service.processes", str(os.getppid()), "echo"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_child_outlives_its_starting_thread_and_ends_with_its_input() -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: started.append(processes.start_in_thread("echo")))
    thread.start()
    thread.join()
    [child] = started
    output, _ = child.communicate(b"", timeout=30)
    assert output.decode() == f"[] None True {os.getpid()}\n"
