"""Ten minutes of kills while clients submit, upload, delete and predict: whatever was acknowledged
is there afterwards, and nothing else."""

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path

import httpx
import pytest

from service.maintenance.verify import verify
from service.settings import Settings
from tests.conftest import LINE
from tests.soak.test_soak import KINDS, LONGEST_PEACE, TARGETS, Target, spec, undisturbed

MINUTES = float(os.environ.get("SOAK_MINUTES", 10))
INPUTS = {"model": "line@1", "inputs": [[1.0], [2.5]]}
WAITING = 3
KEPT = 5
"""Data sets that the uploading client leaves."""
LONGEST_START = 600.0


class Clients:
    """Clients that repeat a request until it is answered, and remember what was acknowledged."""

    def __init__(self, url: str, predictions: object) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self._predictions = predictions
        self._stopping = threading.Event()
        self.done: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.jobs: dict[str, int] = {}
        self.kept: dict[str, str] = {}
        """First value of each acknowledged data set, by id."""
        self.deleted: set[str] = set()
        clients = (self._submit, self._upload, self._predict)
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in clients]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._http.close()
        assert self.errors == []

    def _run(self, client: Callable[[int], None]) -> None:
        try:
            for number in count():
                if self._stopping.is_set():
                    return
                client(number)
        except BaseException as error:
            self.errors.append(error)

    def _ask(self, method: str, path: str, **content: object) -> httpx.Response:
        deadline = time.monotonic() + LONGEST_START
        while True:
            try:
                response = self._http.request(method, path, **content)  # type: ignore[arg-type]
                if response.status_code != 503:
                    return response
                self.done["busy"] += 1
            except httpx.TransportError:
                self.done["interrupted"] += 1
            assert time.monotonic() < deadline, f"{method} {path} is not answered"
            self._stopping.wait(0.1)

    def _submit(self, number: int) -> None:
        waiting = [self._ask("GET", f"/jobs?status={s}").json() for s in ("queued", "running")]
        if sum(len(page["data"]) for page in waiting) >= WAITING:
            self._stopping.wait(0.2)
            return
        headers = {"Idempotency-Key": f"job {number}"}
        response = self._ask("POST", "/jobs", json=spec(number % KINDS), headers=headers)
        assert response.status_code == 202, response.text
        self.jobs[response.json()["id"]] = number % KINDS
        self.done["jobs"] += 1

    def _upload(self, number: int) -> None:
        rows = "".join(f"{number}.5,{row}\n" for row in range(200))
        response = self._ask("POST", f"/datasets?name=load-{number}", content=f"a,b\n{rows}")
        # An interrupted request may have been carried out: the same file is the same data set.
        assert response.status_code in (200, 201), response.text
        self.kept[response.json()["id"]] = f"{number}.5"
        self.done["uploads"] += 1
        if len(self.kept) > KEPT:
            oldest = next(iter(self.kept))
            response = self._ask("DELETE", f"/datasets/{oldest}")
            assert response.status_code in (204, 404), response.text
            del self.kept[oldest]
            self.deleted.add(oldest)
            self.done["deletions"] += 1

    def _predict(self, number: int) -> None:
        response = self._ask("POST", "/predict", json=INPUTS)
        assert response.status_code == 200, response.text
        assert response.json()["predictions"] == self._predictions
        self.done["predictions"] += 1
        self._stopping.wait(0.02)


@pytest.mark.soak
def test_all_that_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED", time.time()))
    print(f"\nSOAK_SEED={seed}")
    chance = random.Random(seed)
    expected = undisturbed(tmp_path / "peace")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = Target(tmp_path / "war", port=port)
    target.server.run(LINE)
    answer = target.server.client.post("/predict", json=INPUTS).json()["predictions"]
    clients = Clients(str(target.server.client.base_url), answer)
    struck: Counter[str] = Counter()
    targets, end = cycle(TARGETS), time.monotonic() + 60 * MINUTES
    while time.monotonic() < end and not clients.errors:
        time.sleep(chance.uniform(0, LONGEST_PEACE))
        what = next(targets)
        target.strike(what, chance)
        struck[what] += 1
    clients.stop()
    server = target.server
    for job_id, kind in clients.jobs.items():
        job = server.wait(job_id, seconds=1800)
        assert job["status"] == "succeeded", job["error"]
        assert server.outcome(job) == expected[kind]
    listed = {one["id"] for one in server.client.get("/datasets?limit=1000").json()["data"]}
    assert listed >= clients.kept.keys()
    assert not listed & clients.deleted
    for dataset, first in clients.kept.items():
        rows = server.client.get(f"/datasets/{dataset}/preview").json()
        assert first in str(rows)
    server.process.terminate()
    server.process.wait(20)
    server.client.close()
    assert [*verify(Settings(data_dir=tmp_path / "war"))] == []
    print(f"{dict(struck)} kills, {dict(clients.done)}: all well")
