"""Lines of the audit log are whole, in bounded files, and none is lost or doubled by a rotation."""

import fcntl
import json
import logging
import os
import stat
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.access.audit_log import FILES, AuditLog, rotated
from service.access.audit_reader import AuditQuery, AuditReader
from service.access.schemas import AuditEntry
from tests.conftest import REPOSITORY
from tests.service.access.audit_writer import entry

WRITERS, LINES = 4, 1000
ROOMY = 2_000_000
"""Bytes in which the lines of all writers fit."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def lines(file: Path) -> list[bytes]:
    """Return all lines, the oldest first."""
    numbered = rotated(file)
    files = [*(numbered[number] for number in sorted(numbered)), file]
    return b"".join(part.read_bytes() for part in files if part.exists()).splitlines()


def test_rotation_neither_loses_nor_doubles_a_line_of_several_processes(file: Path) -> None:
    command = [sys.executable, "-m", "tests.service.access.audit_writer", str(file), str(ROOMY)]
    writers = [
        subprocess.Popen([*command, f"writer-{n}", str(LINES)], cwd=REPOSITORY)
        for n in range(WRITERS)
    ]
    seen = Counter[int]()
    reader = AuditReader(file)
    while any(writer.poll() is None for writer in writers):
        # Readers see whole lines only, and take no turn from writers for long.
        seen[len(reader.page(AuditQuery(), 1000, None).data)] += 1
    assert [writer.wait() for writer in writers] == [0] * WRITERS

    found = Counter((line["key"], line["object"]) for line in map(json.loads, lines(file)))
    assert found == Counter(
        {(f"writer-{n}", f"job_{i}"): 1 for n in range(WRITERS) for i in range(LINES)}
    )
    assert len(rotated(file)) > 1
    assert seen


def test_lines_of_a_process_are_in_order(file: Path) -> None:
    log = AuditLog(file, 10_000)
    for number in range(50):
        log.append(entry("anna", number))
    numbers = [int(json.loads(line)["object"].removeprefix("job_")) for line in lines(file)]
    assert numbers == list(range(50 - len(numbers), 50))


def test_oldest_lines_go_when_the_log_is_full(file: Path) -> None:
    log = AuditLog(file, 20_000)
    for number in range(1000):
        log.append(entry("anna", number))
        files = [*rotated(file).values(), file]
        assert len(files) <= FILES
        assert sum(part.stat().st_size for part in files if part.exists()) <= 20_000
    assert json.loads(lines(file)[-1])["object"] == "job_999"
    assert len(b"".join(lines(file))) > 20_000 * (FILES - 2) // FILES


def test_only_the_service_may_read_it(file: Path) -> None:
    log = AuditLog(file, 2_000)
    for number in range(20):
        log.append(entry("anna", number))
    for part in (file, *rotated(file).values()):
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_commands_of_root_leave_it_to_the_owner_of_the_data_directory(file: Path) -> None:
    os.chown(file.parent, 12_345, 23_456)
    log = AuditLog(file, 2_000)
    for number in range(20):
        log.append(entry("anna", number))
    for part in (file, *rotated(file).values()):
        assert (part.stat().st_uid, part.stat().st_gid) == (12_345, 23_456)


@pytest.mark.parametrize("text", ["a\nb", 'a", "status": 200}\n{"x": "', "\x1b[2J\x9b2J", "\u2028"])
def test_no_value_can_break_a_line_or_reach_a_terminal(file: Path, text: str) -> None:
    AuditLog(file, ROOMY).append(
        AuditEntry(time=datetime.now(UTC), action="POST /jobs", object=text)
    )
    (line,) = lines(file)
    assert json.loads(line)["object"] == text
    assert line.decode("ascii").isprintable()


def test_time_is_in_utc_with_milliseconds(file: Path) -> None:
    moment = datetime(2026, 3, 2, 9, 41, 7, 214_900, UTC)
    AuditLog(file, ROOMY).append(AuditEntry(time=moment, action="POST /jobs"))
    assert json.loads(lines(file)[0]) == {
        "time": "2026-03-02T09:41:07.214Z",
        "action": "POST /jobs",
    }


def test_line_after_one_that_was_cut_off_begins_anew(file: Path) -> None:
    file.write_bytes(b'{"time": "2026-03-02T09:')
    AuditLog(file, ROOMY).append(entry("anna", 1))
    assert json.loads(lines(file)[1])["object"] == "job_1"
    assert [e.object for e in AuditReader(file).page(AuditQuery(), 10, None).data] == ["job_1"]


def test_file_that_cannot_be_written_is_told_of_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(file, ROOMY)
    file.mkdir()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            log.append(entry("anna", number))
        file.rmdir()
        log.append(entry("anna", 3))
    assert [record.getMessage().partition(str(file))[0] for record in caplog.records] == [
        "the audit log ",
        "the audit log is written again; it lacks 3 lines",
    ]
    assert [json.loads(line)["object"] for line in lines(file)] == ["job_3"]


def test_part_of_a_line_for_which_there_is_no_room_is_removed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(file, ROOMY)
    log.append(entry("anna", 1))
    whole, write = file.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda to, content: write(to, content[:10]))
    log.append(entry("anna", 2))
    monkeypatch.undo()
    assert file.read_bytes() == whole


def test_file_rotated_before_it_is_locked_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(file, ROOMY)
    log.append(entry("anna", 1))
    earlier, lock = file.with_name("audit.jsonl.000001"), fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not earlier.exists():
            file.rename(earlier)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    log.append(entry("berta", 2))
    assert [json.loads(line)["key"] for line in file.read_bytes().splitlines()] == ["berta"]
    assert [json.loads(line)["key"] for line in earlier.read_bytes().splitlines()] == ["anna"]
