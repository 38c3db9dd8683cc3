"""A full or read-only disk causes clear errors and loses no data."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LINE, PLANE
from tests.system.server import serving

SIZE = 16 * 1024 * 1024
# Neither checkpoints nor the model fit: two million parameters, three times in a checkpoint.
LARGE: dict[str, Any] = PLANE | {
    "name": "large",
    "model": {"kind": "mlp", "hidden": [2000, 1000]},
    "optimizer": {"kind": "adam"},
    "epochs": 50,
    "checkpoint_epochs": 1,
}


def mounted(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk for the data directory."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)):
        pytest.skip("a tmpfs cannot be mounted here: that needs root")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill(directory: Path) -> Path:
    """Fill the disk."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


def integrity(directory: Path) -> str:
    with sqlite3.connect(directory / "epochd.db") as connection:
        answer: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return answer


def test_trainer_write_errors_are_reported_and_survived(disk: Path) -> None:
    with serving(disk, trainers=1, lease_seconds=5, retry_seconds=0, min_free_mb=0) as server:
        # A checkpoint that does not fit fails its job and leaves nothing.
        job = server.wait(server.submit(LARGE))
        assert (job["status"], job["error"]["kind"]) == ("failed", "storage")
        assert "No space left on device" in job["error"]["message"]
        assert [p for p in disk.rglob("*") if "partial" in p.name] == []
        assert server.client.get("/health/ready").status_code == 200
        assert server.run(LINE)["status"] == "succeeded"
        # A job outlives a disk that fills while it runs: its metrics wait until there is room.
        job_id = server.submit(LINE | {"epochs": 1_000_000})
        server.until(job_id, lambda event: event["kind"] == "epoch")
        ballast = fill(disk)
        refused = server.client.post("/jobs", json=LINE)
        assert refused.status_code == 503
        stalled = server.job(job_id)["progress"]["epoch"]
        ballast.unlink()
        server.until(job_id, lambda e: e["kind"] == "epoch" and e["epoch"] > stalled + 100)
        job = server.job(job_id)
        assert (job["status"], job["attempt"]) == ("running", 1)
        server.client.post(f"/jobs/{job_id}/cancel")
        server.wait(job_id, "cancelled")
    assert integrity(disk) == "ok"


def test_full_or_read_only_disk_is_reported_and_survived(disk: Path) -> None:
    with serving(disk, trainers=0, min_free_mb=0) as server:
        kept = server.submit(LINE)
        ballast = fill(disk)
        ready = server.client.get("/health/ready")
        assert ready.status_code == 503
        assert "No space left on device" in ready.json()["detail"]
        refused = server.client.post("/jobs", json=LINE)
        assert refused.status_code == 503
        assert "full" in refused.json()["detail"]
        assert server.job(kept)["status"] == "queued"
        ballast.unlink()
        # A failed write is remembered for a second.
        while server.client.get("/health/ready").status_code != 200:
            time.sleep(0.1)
        assert server.client.post("/jobs", json=LINE).status_code == 202
    assert integrity(disk) == "ok"
    assert mounted("-o", "remount,ro", str(disk))
    refusal = pytest.raises(AssertionError, match=r"cannot write to the data directory .*Read-only")
    with refusal, serving(disk, trainers=0):
        pass
    assert mounted("-o", "remount,rw", str(disk))
    with serving(disk, trainers=0) as server:
        assert server.job(kept)["status"] == "queued"
