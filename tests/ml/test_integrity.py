"""Checksums of stored files: whatever happens to a file is found before it is used."""

import hashlib
import json
import os
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

import pytest
from pydantic import BaseModel

from ml import integrity
from ml.errors import Damaged, belonging_to
from ml.integrity import CHECKSUMS, check, checked, holds, is_sealed, read_document, read_file, seal
from tests.damages import DAMAGES, flip


class Point(BaseModel):
    x: int
    y: int


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    directory = tmp_path / "sealed"
    (directory / "deep").mkdir(parents=True)
    (directory / "point.json").write_text('{"x": 1, "y": 2}')
    (directory / "deep" / "rows").write_bytes(bytes(range(256)))
    (directory / "empty").touch()
    seal(directory)
    return directory


FAULTS = {
    "gone": "is missing",
    "flipped": "has the SHA-256 [0-9a-f]{64} instead of [0-9a-f]{64}",
    "cut": "has bytes 255 instead of 256",
    "emptied": "has bytes 0 instead of 256",
    "a directory": "cannot be read: Is a directory",
    "a pipe": "is not a file",
}


def test_intact(sealed: Path) -> None:
    check(sealed)
    assert read_file(sealed, "deep/rows") == bytes(range(256))
    assert checked(sealed, "empty") == sealed / "empty"
    assert read_document(sealed, "point.json", Point) == Point(x=1, y=2)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "read",
    [check, lambda d: read_file(d, "deep/rows"), lambda d: checked(d, "deep/rows")],
    ids=["check", "read_file", "checked"],
)
def test_damage_is_found(sealed: Path, damage: str, read: Callable[[Path], object]) -> None:
    DAMAGES[damage](sealed / "deep" / "rows")
    with pytest.raises(Damaged, match=f"deep/rows {FAULTS[damage]}") as caught:
        read(sealed)
    assert caught.value.brief().startswith("rows ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"format": 2, "files": {}}',
        b'{"files": {"point.json": 3}}',
        b'{"files": {"point.json": {"size": -1, "sha256": "' + b"0" * 64 + b'"}}}',
        b'{"files": {"point.json": {"size": 1, "sha256": "no digest"}}}',
        b"[" * 100_000,
    ],
)
def test_damaged_list(sealed: Path, content: bytes) -> None:
    (sealed / CHECKSUMS).write_bytes(content)
    for read in (check, lambda d: read_file(d, "point.json"), lambda d: checked(d, "point.json")):
        with pytest.raises(Damaged, match=f"{CHECKSUMS} cannot be understood"):
            read(sealed)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", ".", "a//b", "a/../b", "./a"])
def test_list_names_only_files_inside(sealed: Path, name: str) -> None:
    files = {name: {"size": 0, "sha256": "0" * 64}}
    (sealed / CHECKSUMS).write_text(json.dumps({"files": files}))
    with pytest.raises(Damaged, match="not the path of a file in the directory"):
        check(sealed)


def test_file_that_is_not_listed_is_not_used(sealed: Path) -> None:
    (sealed / "late").write_bytes(b"added")
    assert not holds(sealed, "late")
    with pytest.raises(Damaged, match="does not list late"):
        read_file(sealed, "late")


def test_missing_list_is_damage_where_one_is_demanded(sealed: Path) -> None:
    (sealed / CHECKSUMS).unlink()
    assert not is_sealed(sealed)
    with pytest.raises(Damaged, match=f"{CHECKSUMS} is missing"):
        check(sealed)


def test_directory_of_an_earlier_version_is_read_unchecked(sealed: Path) -> None:
    (sealed / CHECKSUMS).unlink()
    assert read_file(sealed, "deep/rows") == bytes(range(256))
    assert checked(sealed, "deep/rows") == sealed / "deep" / "rows"
    (sealed / "deep" / "rows").unlink()
    assert not holds(sealed, "deep/rows")
    for read in (read_file, checked):
        with pytest.raises(Damaged, match="rows is missing"):
            read(sealed, "deep/rows")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "cannot be understood: Invalid JSON: EOF"),
        (b'{"x": 1}', "cannot be understood: y: Field required"),
        (b'{"x": "left", "y": 1}', "cannot be understood: x: Input should be a valid integer"),
        (b"\xff", "cannot be understood: Invalid JSON"),
    ],
)
def test_document_of_another_form(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "point.json").write_bytes(content)
    with pytest.raises(Damaged, match=fault):
        read_document(tmp_path, "point.json", Point)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The files hashed so far."""
    files: list[object] = []
    digest = integrity._digest

    def counted(file: BufferedReader) -> str:
        files.append(file)
        return digest(file)

    monkeypatch.setattr(integrity, "_digest", counted)
    return files


def test_large_file_is_hashed_again_only_after_it_changed(
    sealed: Path, hashed: list[object]
) -> None:
    path = checked(sealed, "deep/rows")
    checked(sealed, "deep/rows")
    assert len(hashed) == 1
    checked(sealed, "deep/rows", again=True)
    assert len(hashed) == 2
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Damaged):
        checked(sealed, "deep/rows")
    assert len(hashed) == 3


def test_damaged_file_is_hashed_again_after_it_changed_or_after_a_while(
    sealed: Path, hashed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed / "deep" / "rows"
    flip(path)
    for _ in range(2):
        with pytest.raises(Damaged, match="SHA-256"):
            checked(sealed, "deep/rows", again=True)
    assert len(hashed) == 1
    monkeypatch.setattr(integrity, "RECHECK_SECONDS", 0.0)
    with pytest.raises(Damaged, match="SHA-256"):
        checked(sealed, "deep/rows")
    assert len(hashed) == 2
    monkeypatch.setattr(integrity, "RECHECK_SECONDS", 1000.0)
    flip(path)
    checked(sealed, "deep/rows", again=True)
    assert len(hashed) == 3


def test_digest_may_be_known_from_elsewhere(sealed: Path) -> None:
    right = hashlib.sha256(bytes(range(256))).hexdigest()
    checked(sealed, "deep/rows", right)
    with pytest.raises(Damaged, match=f"rows has the SHA-256 {right} instead of 0000"):
        checked(sealed, "deep/rows", "0" * 64)
    (sealed / CHECKSUMS).unlink()
    checked(sealed, "deep/rows", right)
    with pytest.raises(Damaged, match=f"rows has the SHA-256 {right} instead of 0000"):
        checked(sealed, "deep/rows", "0" * 64)


def test_error_of_the_process_is_not_damage(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="Too many open files"):
        read_file(sealed, "deep/rows")


def test_message_for_users_names_the_whole_and_no_directory(sealed: Path) -> None:
    (sealed / "empty").unlink()
    with pytest.raises(Damaged) as caught, belonging_to("the house", "build it again"):
        check(sealed)
    assert caught.value.brief() == "the house is damaged: empty is missing; build it again"
    assert f"the house is damaged: {sealed}/empty is missing" in str(caught.value)


def test_message_is_one_line_without_the_directory(sealed: Path) -> None:
    path = sealed / "empty"
    damage = Damaged(path, f"cannot be read:\n  {path} is\todd {'very ' * 1000}")
    assert damage.brief().startswith("empty cannot be read: empty is odd very very")
    assert len(damage.brief()) < 1000


def test_all_faults_are_listed(sealed: Path) -> None:
    assert [*integrity.faults(sealed)] == []
    flip(sealed / "point.json")
    (sealed / "empty").unlink()
    assert [fault.path.name for fault in integrity.faults(sealed)] == ["empty", "point.json"]
    (sealed / CHECKSUMS).unlink()
    assert [fault.path.name for fault in integrity.faults(sealed)] == [CHECKSUMS]
