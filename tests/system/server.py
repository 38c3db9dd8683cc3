"""A real service in a real process tree, started and killed by tests."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

ENDED = {"succeeded", "failed", "cancelled"}
LISTENING = re.compile(r"running on (http://\S+)")


class Server:
    """A running `epochd serve`, and a client of it."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, log: list[str]) -> None:
        self.process = process
        self.log = log
        self.client = httpx.Client(base_url=url, timeout=60)

    def submit(self, spec: dict[str, Any]) -> str:
        response = self.client.post("/jobs", json=spec)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.client.get(f"/jobs/{job_id}").raise_for_status().json()
        return job

    def wait(self, job_id: str, *statuses: str, seconds: float = 180) -> dict[str, Any]:
        """Return the job once it is in one of `statuses`, by default at its end."""
        deadline = time.monotonic() + seconds
        while (job := self.job(job_id))["status"] not in (statuses or ENDED):
            assert job["status"] not in ENDED, job
            assert time.monotonic() < deadline, f"still {job['status']}: {job['progress']}"
            time.sleep(0.05)
        return job

    def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Submit a job and return it at its good end."""
        job = self.wait(self.submit(spec))
        assert job["status"] == "succeeded", job["error"]
        return job

    def trainers(self) -> list[int]:
        """Return the process ids of the trainers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split() if b"service.trainer" in _command(int(pid))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@contextmanager
def serving(data_dir: Path, **environment: object) -> Iterator[Server]:
    """Run `epochd serve` on a free port, with EPOCHD_* settings from `environment`."""
    process = subprocess.Popen(
        [Path(sys.executable).parent / "epochd", "serve"],
        env=os.environ
        | {"EPOCHD_DATA_DIR": str(data_dir), "EPOCHD_PORT": "0"}
        | {f"EPOCHD_{name.upper()}": str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log: list[str] = []
    try:
        server = Server(process, _wait_for_address(process, log), log)
        with server.client:
            yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def _wait_for_address(process: "subprocess.Popen[str]", log: list[str]) -> str:
    assert process.stdout
    for line in process.stdout:
        log.append(line)
        if match := LISTENING.search(line):
            # The pipe must be kept empty, or the service would wait for it.
            Thread(target=log.extend, args=(process.stdout,), daemon=True).start()
            return match[1]
    raise AssertionError("the service ended:\n" + "".join(log))
