"""The operator's limits on disk space, on a real directory."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from service.settings import MIB, Settings
from service.storage import disk_space
from service.storage.disk_space import DiskSpace, directory_bytes


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def limited(directory: Path, **limits: int) -> DiskSpace:
    return DiskSpace(Settings(data_dir=directory, **limits))  # type: ignore[arg-type]


def test_files_count_once_however_many_names_they_have(tmp_path: Path) -> None:
    empty = directory_bytes(tmp_path)
    nested = tmp_path / "models" / "one"
    nested.mkdir(parents=True)
    (nested / "weights").write_bytes(b"\1" * MIB)
    os.link(nested / "weights", tmp_path / "backup")
    (tmp_path / "elsewhere").symlink_to("/usr")
    assert MIB <= directory_bytes(tmp_path) - empty < MIB + 64 * 1024


def test_a_full_data_directory_refuses_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "REMEASURE_SECONDS", 0.0)
    monkeypatch.setattr(disk_space, "MAX_SHARE", 1e9)
    space = limited(tmp_path, max_disk_mb=2)
    assert space.refusal() is None
    refusal = space.refusal(3 * MIB)
    assert refusal is not None
    assert refusal.status == 507
    assert "this would take 3 MB; EPOCHD_MAX_DISK_MB allows 2 MB" in refusal.detail
    (tmp_path / "file").write_bytes(b"\1" * (2 * MIB + 1))
    assert space.refusal() is not None
    [finding] = space.findings()
    assert not finding.blocking
    assert finding.message.startswith("uploads and new jobs are refused: the data directory has 2")
    (tmp_path / "file").unlink()
    assert (space.refusal(), list(space.findings())) == (None, [])


def test_measuring_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def measure(directory: Path) -> int:
        measured.append(directory)
        return 0

    monkeypatch.setattr(disk_space, "directory_bytes", measure)
    space = limited(tmp_path, max_disk_mb=2)
    for _ in range(100):
        assert space.refusal() is None
    assert measured == [tmp_path]


def test_free_space_is_left_to_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 150 * MIB))
    space = limited(tmp_path, min_free_mb=100)
    assert space.refusal(50 * MIB) is None
    refusal = space.refusal(51 * MIB)
    assert refusal is not None
    assert "EPOCHD_MIN_FREE_MB leaves 100 MB free" in refusal.detail
    assert list(space.findings()) == []
    assert len(list(limited(tmp_path, min_free_mb=151).findings())) == 1
