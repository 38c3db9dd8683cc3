"""Freed memory goes back to the system, and the machine's memory is what this process may use."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from service import memory
from service.memory import MIB, Trimmer

BLOCK = 64 * 1024
"""Smaller than what glibc gives back by itself."""


def test_trim_gives_back_what_another_thread_freed() -> None:
    def use() -> None:
        blocks = [np.ones(BLOCK, np.uint8) for _ in range(2000)]
        held.append(blocks[-1])

    held: list[object] = []
    before = memory.resident_bytes()
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    memory.trim()
    assert memory.resident_bytes() - before < 32 * MIB


class Machine:
    """A process of a given size, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.size, self.now, self.trims = 400 * MIB, 100.0, 0
        self.freed = 0
        monkeypatch.setattr(memory, "resident_bytes", lambda: self.size)
        monkeypatch.setattr(memory.time, "monotonic", lambda: self.now)  # type: ignore[attr-defined]
        monkeypatch.setattr(memory, "trim", self._trim)
        self._trimmer = Trimmer()

    def seconds(self, count: int) -> int:
        """Pass `count` seconds; return how often the process trimmed."""
        before = self.trims
        for _ in range(count):
            self.now += 1
            self._trimmer.tick()
            with self._trimmer._trimming:
                pass
        return self.trims - before

    def _trim(self) -> None:
        self.trims += 1
        self.size -= self.freed
        self.freed = 0


def test_a_process_that_has_not_grown_does_not_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.size += 20 * MIB
    assert machine.seconds(100) == 0


def test_growth_is_trimmed_once_it_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.size += 500 * MIB
    machine.freed = 490 * MIB
    assert machine.seconds(1) == 1
    assert machine.size == 410 * MIB
    assert machine.seconds(100) == 0


def test_what_is_still_in_use_is_looked_at_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    machine.size += 500 * MIB
    assert machine.seconds(60) < 8
    machine.seconds(540)
    assert 0 < machine.seconds(120) <= 2
    machine.size += 500 * MIB
    machine.freed = 900 * MIB
    assert machine.seconds(1) == 1
    assert machine.seconds(60) < 8


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/", {}, None),
        ("0::/a/b", {"a/memory.max": "1000000", "a/b/memory.max": "max"}, 1000000),
        ("0::/a/b", {"a/memory.max": "9000000", "a/b/memory.max": "2000"}, 2000),
        # In a container, the path may be that outside of it.
        ("0::/host/path", {"memory.max": "3000"}, 3000),
        ("4:memory:/job", {"memory/job/memory.limit_in_bytes": "4000"}, 4000),
        ("4:memory:/job", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("5:devices:/job", {"memory/job/memory.limit_in_bytes": "4000"}, None),
    ],
)
def test_memory_of_the_machine_is_that_of_its_control_group(
    group: str,
    files: dict[str, str],
    limit: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    read = Path.read_text
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, *rest: group if path == Path("/proc/self/cgroup") else read(path, *rest),
    )
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.machine_bytes() == (limit or total)
