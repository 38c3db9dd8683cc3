"""A real service in a real process tree, started and killed by tests."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

EPOCHD = Path(sys.executable).parent / "epochd"
EPOCHD_SERVE = (EPOCHD, "serve")
ENDED = {"succeeded", "failed", "cancelled"}
PATIENCE = 600
"""Seconds to wait for what takes one or two, for machines that many share."""


class Log:
    """Output of a process, read continuously: a full pipe would block the process."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._text = ""
        self._ended = False
        self._grown = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> "re.Match[str]":
        """Return the first match of `pattern`, once there is one."""
        with self._grown:
            self._grown.wait_for(lambda: self._ended or re.search(pattern, self._text), seconds)
            match = re.search(pattern, self._text)
        assert match, f"it did not say {pattern!r}:\n{self._text}"
        return match

    def count(self, text: str) -> int:
        """Return how often the process has said `text`."""
        with self._grown:
            return self._text.count(text)

    @property
    def text(self) -> str:
        """All that was written until now."""
        with self._grown:
            return self._text

    def _read(self) -> None:
        with self._pipe:
            for line in self._pipe:
                with self._grown:
                    self._text += line
                    self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()


class Server:
    """A running `epochd serve`, and a client of it."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, log: Log) -> None:
        self.process = process
        self.log = log
        self._seen: dict[str, int] = {}
        self.client = httpx.Client(base_url=url, timeout=PATIENCE)

    def another(self) -> httpx.Client:
        """Return a client with a connection of its own, which any web process may accept."""
        return httpx.Client(base_url=self.client.base_url, timeout=PATIENCE)

    def submit(self, spec: dict[str, Any]) -> str:
        response = self.client.post("/jobs", json=spec)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.client.get(f"/jobs/{job_id}").raise_for_status().json()
        return job

    def events(
        self, job_id: str, last: int = 0, seconds: float = PATIENCE
    ) -> Iterator[dict[str, Any]]:
        """Yield the job's events after event `last`, live, until the job ends."""
        deadline = time.monotonic() + seconds
        headers = {"Last-Event-ID": str(last)}
        with self.client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                assert time.monotonic() < deadline, f"nothing came of it: {self.job(job_id)}"
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def until(
        self, job_id: str, matches: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Return the first matching event after the last one returned."""
        for event in self.events(job_id, self._seen.get(job_id, 0), seconds):
            self._seen[job_id] = event["id"]
            if matches(event):
                return event
        raise AssertionError(f"it ended before: {self.job(job_id)}")

    def wait(self, job_id: str, *statuses: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the job once its status is one of `statuses`, by default a final one."""
        self.until(job_id, lambda e: e["data"].get("status") in (statuses or ENDED), seconds)
        return self.job(job_id)

    def metrics(self, job_id: str) -> list[tuple[str, int, int, dict[str, float]]]:
        """Return the job's whole loss history."""
        history: list[tuple[str, int, int, dict[str, float]]] = []
        after: str | None = "0"
        while after is not None:
            params = {"after": after, "limit": 1000}
            page = self.client.get(f"/jobs/{job_id}/metrics", params=params).json()
            history += [(m["level"], m["epoch"], m["step"], m["values"]) for m in page["data"]]
            after = page["next"]
        return history

    def outcome(self, job: dict[str, Any]) -> tuple[str, list[Any]]:
        """Return what the spec determines: the SHA-256 of the weights, and the loss history."""
        model = self.client.get("/models/{name}/versions/{version}".format(**job["model"])).json()
        return model["lineage"]["weights_sha256"], self.metrics(job["id"])

    def attempts(self, job_id: str) -> list[dict[str, Any]]:
        attempts: list[dict[str, Any]] = self.client.get(f"/jobs/{job_id}/attempts").json()["data"]
        return attempts

    def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Submit a job and return it once it has succeeded."""
        job = self.wait(self.submit(spec))
        assert job["status"] == "succeeded", job["error"]
        return job

    def cancel_all(self) -> None:
        """End every job that has not ended."""
        for status in ("queued", "running", "paused"):
            for job in self.client.get("/jobs", params={"status": status}).json()["data"]:
                self.client.post(f"/jobs/{job['id']}/cancel")
                self.wait(job["id"])

    def trainers(self) -> list[int]:
        """Return the process ids of the trainers."""
        return self._children(b"service.training.trainer")

    def web_workers(self) -> list[int]:
        """Return the process ids of the web processes, if there are several."""
        return self._children(b"service.server.web_workers")

    def _children(self, module: bytes) -> list[int]:
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [pid for pid in map(int, pids.split()) if module in _command(pid)]


def figure(text: str, name: str) -> float:
    """Return the sum of a metric over its series."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
    )


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def launch(
    data_dir: Path,
    command: Sequence[str | Path] = EPOCHD_SERVE,
    cwd: Path | None = None,
    **environment: object,
) -> Server:
    """Start `epochd serve` on a free port, with EPOCHD_* settings from `environment`, in the
    directory `cwd`."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ
        | {"EPOCHD_DATA_DIR": str(data_dir), "EPOCHD_PORT": "0"}
        | {f"EPOCHD_{name.upper()}": str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    log = Log(process.stdout)
    try:
        return Server(process, log.wait_for(r"running on (http://[^\s\"]+)")[1], log)
    except BaseException:
        process.kill()
        process.wait()
        raise


@contextmanager
def serving(
    data_dir: Path,
    command: Sequence[str | Path] = EPOCHD_SERVE,
    cwd: Path | None = None,
    **environment: object,
) -> Iterator[Server]:
    """Run `epochd serve` as `launch` does, and stop it at the end."""
    server = launch(data_dir, command, cwd, **environment)
    process = server.process
    try:
        with server.client:
            yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
