"""Readiness says when no trainer starts, and why."""

from pathlib import Path

import pytest

from service.training import pool_health
from service.training.pool_health import PoolHealth


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(pool_health.time, "time", lambda: now[0])  # type: ignore[attr-defined]
    return now


def warnings(file: Path) -> list[str]:
    """Return what another process tells."""
    return [finding.message for finding in PoolHealth(file).findings()]


def test_a_pool_that_starts_is_well(tmp_path: Path, clock: list[float]) -> None:
    file = tmp_path / "health"
    health = PoolHealth(file)
    assert warnings(file) == []
    health.empty()
    clock[0] += 59
    assert warnings(file) == []
    health.clear()
    clock[0] += 1000
    assert warnings(file) == []
    assert list(tmp_path.iterdir()) == []


def test_a_pool_that_does_not_start_for_a_minute_is_told(
    tmp_path: Path, clock: list[float]
) -> None:
    file = tmp_path / "health"
    health = PoolHealth(file)
    health.empty()
    clock[0] += 60
    told = "jobs stay queued: no trainer has started for 60 seconds"
    assert warnings(file) == [f"{told}; one is starting"]
    health.failed("exit code 3: out of luck")
    assert warnings(file) == [f"{told}; the last one ended: exit code 3: out of luck"]


def test_three_failures_in_a_row_are_told_at_once(tmp_path: Path, clock: list[float]) -> None:
    file = tmp_path / "health"
    health = PoolHealth(file)
    health.empty()
    for _ in range(2):
        health.failed("exit code 1")
    assert warnings(file) == []
    health.failed("exit code 1")
    assert len(warnings(file)) == 1
    health.clear()
    health.empty()
    assert warnings(file) == []


def test_a_file_that_cannot_be_written_or_read_stops_nothing(tmp_path: Path) -> None:
    PoolHealth(tmp_path / "missing" / "health").empty()
    (tmp_path / "health").write_text("{")
    assert warnings(tmp_path / "health") == []
