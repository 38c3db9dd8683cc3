"""Clients that train, upload, delete and predict until they are stopped."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx

from tests.conftest import LINE, PLANE

KEPT = 3
"""Versions and data sets that each client leaves."""
ENDLESS = PLANE | {
    "name": "endless",
    "model": {"kind": "mlp", "hidden": [16]},
    "epochs": 1_000_000,
    "checkpoint_seconds": 0.2,
}
"""A job that goes on writing checkpoints and metrics."""


class Load:
    """The clients, and what they did."""

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._model = model
        self._stopping = threading.Event()
        self.done: Counter[str] = Counter()
        self.errors: list[Exception] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run every client in a thread within the `with` block."""
        clients = (self._train, self._upload, self._predict)
        threads = [threading.Thread(target=self._repeat, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def wait_for(self, **least: int) -> None:
        """Return once everything named was done so often, or there was an error."""
        while not self.errors and any(self.done[name] < n for name, n in least.items()):
            self._stopping.wait(0.1)

    def _repeat(self, client: Callable[[httpx.Client, int], None]) -> None:
        try:
            with httpx.Client(base_url=self._url, timeout=300) as http:
                for number in count():
                    if self._stopping.is_set():
                        return
                    client(http, number)
        except Exception as error:
            self.errors.append(error)

    def _train(self, http: httpx.Client, number: int) -> None:
        spec = LINE | {"name": f"trained-{number % 2}", "epochs": 3, "priority": 10}
        job_id = self._ok(http.post("/jobs", json=spec), "jobs")["id"]
        with http.stream("GET", f"/jobs/{job_id}/events") as events:
            for _ in events.iter_lines():
                pass
        if number >= KEPT:
            job = http.get(f"/jobs/{job_id}").json()
            name, version = job["model"]["name"], job["model"]["version"]
            if version > KEPT:
                path = f"/models/{name}/versions/{version - KEPT}"
                self._ok(http.delete(path), "models deleted")

    def _upload(self, http: httpx.Client, number: int) -> None:
        rows = "".join(f"{number},{row}\n" for row in range(200))
        self._ok(http.post("/datasets?name=load", content=f"a,b\n{rows}"), "uploads")
        listed = http.get("/datasets?limit=100").json()["data"]
        for dataset in [one for one in listed if one["name"] == "load"][KEPT:]:
            self._ok(http.delete(f"/datasets/{dataset['id']}"), "data sets deleted")

    def _predict(self, http: httpx.Client, number: int) -> None:
        body = {"model": self._model, "inputs": [[float(number % 10)]]}
        self._ok(http.post("/predict", json=body), "predictions")
        self._stopping.wait(0.01)

    def _ok(self, response: httpx.Response, what: str) -> Any:
        assert response.is_success, f"{response.request.url}: {response.text}"
        self.done[what] += 1
        return response.json() if response.content else None
