"""The audit log is read from its end, page by page, while it is written and rotated."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.access import audit_reader
from service.access.audit_log import AuditLog, rotated
from service.access.audit_reader import AuditQuery, AuditReader
from service.access.schemas import AuditEntry
from tests.service.access.audit_writer import entry

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def objects(
    reader: AuditReader, query: AuditQuery | None = None, limit: int = 7
) -> list[str | None]:
    """Return the objects of all pages."""
    found: list[str | None] = []
    after = None
    while True:
        page = reader.page(query or AuditQuery(), limit, after)
        assert len(page.data) <= limit
        found += [entry.object for entry in page.data]
        after = page.next
        if after is None:
            return found


def numbered(*numbers: int) -> list[str]:
    return [f"job_{number}" for number in numbers]


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
@pytest.mark.parametrize("block", [1, 64, 64 * 1024])
def test_pages_have_every_line_once_newest_first(
    file: Path, monkeypatch: pytest.MonkeyPatch, limit: int, block: int
) -> None:
    monkeypatch.setattr(audit_reader, "BLOCK_BYTES", block)
    log = AuditLog(file, 40_000)
    for number in range(50):
        log.append(entry("anna", number))
    assert len(rotated(file)) > 0
    assert objects(AuditReader(file), limit=limit) == numbered(*range(49, -1, -1))


def test_last_page_says_so(file: Path) -> None:
    log = AuditLog(file, 100_000)
    for number in range(4):
        log.append(entry("anna", number))
    reader = AuditReader(file)
    assert reader.page(AuditQuery(), 4, None).next is None
    first = reader.page(AuditQuery(), 3, None)
    assert first.next is not None
    assert reader.page(AuditQuery(), 3, first.next).next is None


def test_cursor_holds_over_rotation_and_new_lines(file: Path) -> None:
    log = AuditLog(file, 40_000)
    for number in range(10):
        log.append(entry("anna", number))
    reader = AuditReader(file)
    first = reader.page(AuditQuery(), 5, None)
    for number in range(10, 60):
        log.append(entry("anna", number))
    assert rotated(file)
    rest = reader.page(AuditQuery(), 50, first.next)
    assert [e.object for e in rest.data] == numbered(*range(4, -1, -1))


def test_cursor_of_a_deleted_file_is_at_the_end(file: Path) -> None:
    log = AuditLog(file, 4_000)
    for number in range(3):
        log.append(entry("anna", number))
    reader = AuditReader(file)
    first = reader.page(AuditQuery(), 1, None)
    for number in range(3, 100):
        log.append(entry("anna", number))
    assert reader.page(AuditQuery(), 10, first.next).data == []


def test_log_without_files_is_empty(file: Path) -> None:
    assert AuditReader(file).page(AuditQuery(), 10, None).data == []
    assert not file.exists()


def test_long_search_ends_a_page_early(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(file, 100_000)
    for number in range(100):
        log.append(entry("anna" if number else "berta", number))
    monkeypatch.setattr(audit_reader, "MAX_SCANNED", 2_000)
    reader = AuditReader(file)
    page = reader.page(AuditQuery(key="berta"), 10, None)
    assert page.data == []
    assert page.next is not None
    assert objects(reader, AuditQuery(key="berta")) == ["job_0"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (AuditQuery(), [5, 4, 3, 2, 1]),
        (AuditQuery(owner="anna"), [4, 1]),
        (AuditQuery(key="laptop"), [4]),
        (AuditQuery(key="key_1"), [1]),
        (AuditQuery(action="POST /jobs"), [4, 1]),
        (AuditQuery(action="*/jobs*"), [4, 2, 1]),
        (AuditQuery(action="epochd *"), [5]),
        (AuditQuery(object="mnist"), [3]),
        (AuditQuery(object="mnist@3"), [3]),
        (AuditQuery(object="mnist@4"), []),
        (AuditQuery(object="job_1"), [2, 1]),
        (AuditQuery(since=NOON + timedelta(minutes=4)), [5, 4]),
        (AuditQuery(since=datetime.min.replace(tzinfo=UTC)), [5, 4, 3, 2, 1]),
        (AuditQuery(since=datetime.max.replace(tzinfo=UTC)), []),
        (AuditQuery(owner="anna", since=NOON + timedelta(minutes=4)), [4]),
    ],
)
def test_queries(file: Path, query: AuditQuery, wanted: list[int]) -> None:
    entries = [
        AuditEntry(time=NOON, owner="anna", key_id="key_1", action="POST /jobs", object="job_1"),
        AuditEntry(time=NOON, owner="berta", action="DELETE /jobs/{job_id}", object="job_1"),
        AuditEntry(time=NOON, action="PUT /models/{name}/aliases/{alias}", object="mnist@3"),
        AuditEntry(time=NOON, owner="anna", key="laptop", action="POST /jobs", object="job_2"),
        AuditEntry(time=NOON, user="root", action="epochd keys add", object="anna"),
    ]
    log = AuditLog(file, 100_000)
    for number, each in enumerate(entries, 1):
        log.append(
            each.model_copy(
                update={"time": NOON + timedelta(minutes=number), "request_id": str(number)}
            )
        )
    found = AuditReader(file).page(query, 10, None).data
    assert [int(each.request_id or 0) for each in found] == wanted


def test_unreadable_lines_are_skipped(file: Path) -> None:
    log = AuditLog(file, 100_000)
    log.append(entry("anna", 1))
    with file.open("ab") as opened:
        opened.write(b'\xff\n{"action": 1}\nnull\n\n{"time": "2026-03-02T12:00:00Z", "act')
    log.append(entry("anna", 2))
    assert objects(AuditReader(file)) == numbered(2, 1)
