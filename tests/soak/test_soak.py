"""200 kills at random moments, aimed in turn at trainers, the service and the whole process tree:
every acknowledged job succeeds, with one attempt at a time and the expected weights."""

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PLANE
from tests.system.server import Server, launch, serving

KILLS = int(os.environ.get("SOAK_KILLS", 200))
JOBS = 30
"""Minimum number of jobs; some stay queued until the last kill."""
WAITING = 4
LONGEST_PEACE = 6.0
"""Maximum seconds between two kills."""
SETTINGS = {"trainers": 2, "retry_seconds": 0, "lease_seconds": 5}
TARGETS = ("trainer", "service", "tree")


def spec(kind: int) -> dict[str, Any]:
    return PLANE | {
        "name": f"soak-{kind}",
        "dataset": PLANE["dataset"] | {"noise": 0.5, "size": 2000},
        "model": {"kind": "mlp", "hidden": [32, 32], "dropout": 0.2},
        "optimizer": {"kind": ("adam", "adamw", "sgd")[kind % 3], "lr": 0.01},
        "schedule": {"kind": ("one_cycle", "plateau", "cosine", "step")[kind % 4]},
        "split": {"validation": 0.2, "test": 0.1},
        "average": (None, "ema", "swa")[kind % 3],
        "keep_best": kind % 2 == 0,
        "test_every": kind,
        "epochs": 60,
        "report_every": 13,
        "checkpoint_seconds": 0.3,
        "max_attempts": 100_000,
        "seed": kind,
    }


KINDS = 6


class Target:
    """A service that is killed and started again."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.settings = SETTINGS | settings
        self.server = launch(data_dir, **self.settings)

    def strike(self, what: str, chance: random.Random) -> None:
        """Kill `what` with SIGKILL, and ensure that a service runs again."""
        trainers = self.server.trainers()
        if what == "trainer":
            if trainers:
                os.kill(chance.choice(trainers), signal.SIGKILL)
            return
        for pid in trainers if what == "tree" else []:
            os.kill(pid, signal.SIGKILL)
        self.server.process.kill()
        self.server.process.wait()
        self.server.client.close()
        self.server = launch(self.data_dir, **self.settings)

    def submit(self, document: dict[str, Any], key: str) -> str:
        headers = {"Idempotency-Key": key}
        response = self.server.client.post("/jobs", json=document, headers=headers)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id


def waiting(server: Server) -> int:
    pages = (server.client.get(f"/jobs?status={s}").json() for s in ("queued", "running"))
    return sum(len(page["data"]) for page in pages)


def undisturbed(data_dir: Path) -> list[tuple[str, list[Any]]]:
    """Return the outcome of each kind of job without kills."""
    with serving(data_dir, trainers=2) as server:
        jobs = [server.submit(spec(kind)) for kind in range(KINDS)]
        return [server.outcome(server.wait(job_id)) for job_id in jobs]


@pytest.mark.soak
def test_every_job_survives_200_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED", time.time()))
    print(f"\nSOAK_SEED={seed}")
    chance = random.Random(seed)
    expected = undisturbed(tmp_path / "peace")
    target = Target(tmp_path / "war")
    jobs: dict[str, int] = {}
    struck: Counter[str] = Counter()
    numbers, targets = count(), cycle(TARGETS)
    start = time.monotonic()
    while sum(struck.values()) < KILLS:
        while waiting(target.server) < WAITING:
            number = next(numbers)
            key = f"job {number}"
            job_id = target.submit(spec(number % KINDS), key)
            assert target.submit(spec(number % KINDS), key) == job_id
            jobs[job_id] = number % KINDS
        time.sleep(chance.uniform(0, LONGEST_PEACE))
        what = next(targets)
        target.strike(what, chance)
        struck[what] += 1
        if sum(struck.values()) % 20 == 0:
            minutes = (time.monotonic() - start) / 60
            print(f"{minutes:.1f} min: {dict(struck)}, {len(jobs)} jobs", flush=True)
    while len(jobs) < JOBS:
        number = next(numbers)
        jobs[target.submit(spec(number % KINDS), f"job {number}")] = number % KINDS

    server = target.server
    attempts = 0
    for job_id, kind in jobs.items():
        job = server.wait(job_id, seconds=1800)
        assert job["status"] == "succeeded", job["error"]
        assert server.outcome(job) == expected[kind]
        tries = server.attempts(job_id)
        assert [a["attempt"] for a in tries] == list(range(1, len(tries) + 1))
        assert [a["outcome"] for a in tries].count("succeeded") == 1
        for earlier, later in pairwise(tries):
            ended = earlier["ended_at"]
            assert earlier["heartbeat_at"] <= ended <= later["started_at"], "twice at once"
        attempts += len(tries)
    listed = server.client.get("/jobs?limit=1000").json()["data"]
    assert {job["id"] for job in listed} == set(jobs)
    server.process.terminate()
    server.process.wait(20)
    server.client.close()
    with sqlite3.connect(tmp_path / "war" / "epochd.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        models = {d for (d,) in connection.execute("SELECT directory FROM model_versions")}
    assert {path.name for path in (tmp_path / "war" / "models").iterdir()} >= models
    minutes = (time.monotonic() - start) / 60
    print(f"{KILLS} kills, {len(jobs)} jobs, {attempts} attempts, {minutes:.1f} minutes: all well")
