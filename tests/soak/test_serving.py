"""Ten minutes at 70 % of capacity, while an alias changes every second and a job trains: no error,
no response of the wrong version, no growth of memory."""

import json
import os
import re
import shutil
import subprocess
import time
from itertools import count
from pathlib import Path
from statistics import mean

import pytest

from tests.conftest import LINE
from tests.system.server import Server, serving

SECONDS = int(os.environ.get("SOAK_SECONDS", 600))
CONNECTIONS = 128
SHARE = 0.7
RUN_SECONDS = 20
WARM_SECONDS = 60
"""Time after which memory should no longer grow."""

# wrk waits for whole milliseconds; a mixture of two values gives a fraction.
WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"model": "flip@live", "inputs": [[10]]}'
function delay() return math.floor(%f + math.random()) end
"""


def rate(wrk: "subprocess.Popen[str]") -> float:
    """Wait for wrk to end and return the requests per second."""
    output, _ = wrk.communicate()
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert match, output
    assert "Non-2xx" not in output, output
    assert "Socket errors" not in output, output
    return float(match[1])


class Load:
    """Consecutive runs of wrk, each with pauses adjusted by the result of the last."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server, self._directory = server, directory
        self._delay_ms = 0.0
        self.capacity = rate(self._wrk(5))
        """Requests per second without pauses."""
        self.served: list[float] = []
        self._between_ms = 1000 * CONNECTIONS / (SHARE * self.capacity)
        self._delay_ms = self._between_ms
        for _ in range(4):
            self._adapt(rate(self._wrk(5)))
        self._running = self._wrk(RUN_SECONDS)

    def continue_(self) -> None:
        """Start the next run if the last one has ended."""
        if self._running.poll() is not None:
            self.finish()
            self._running = self._wrk(RUN_SECONDS)

    def finish(self) -> None:
        """Wait for the current run to end."""
        self.served.append(rate(self._running))
        self._adapt(self.served[-1])

    def _wrk(self, seconds: int) -> "subprocess.Popen[str]":
        script = self._directory / "load.lua"
        script.write_text(WRK % self._delay_ms)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", str(script)]
        url = f"{self._server.client.base_url}/predict"
        return subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True)

    def _adapt(self, answered: float) -> None:
        # The rest of the time between two requests is the response time.
        waited = 1000 * CONNECTIONS / answered - self._delay_ms
        self._delay_ms = max(0.0, self._between_ms - waited)


def resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_serving_is_stable_under_load(tmp_path: Path) -> None:
    with serving(tmp_path, trainers=1, trainer_threads=1) as server:
        for slope in (1, 5):
            target = LINE["dataset"] | {"target": f"{slope}*x", "noise": 0.0}
            server.run(LINE | {"name": "flip", "dataset": target, "epochs": 300})
        alias = "/models/flip/aliases/live"
        request = {"model": "flip@live", "inputs": [[10]]}
        values = {}
        for version in (1, 2):
            server.client.put(alias, json={"version": version}).raise_for_status()
            answer = server.client.post("/predict", json=request).json()
            values[version] = answer["predictions"][0]["value"]
        assert values[2] > 2 * values[1]
        job_id = server.submit(
            LINE | {"model": {"kind": "mlp"}, "epochs": 1_000_000, "report_every": 10_000}
        )
        server.until(job_id, lambda event: event["kind"] == "epoch")

        load = Load(server, tmp_path)
        start, warm, checked = time.monotonic(), 0.0, 0
        for flip in count():
            elapsed = time.monotonic() - start
            if elapsed > SECONDS:
                break
            load.continue_()
            if elapsed > min(WARM_SECONDS, SECONDS / 2) and not warm:
                warm = resident_mib(server)
            version = 1 + flip % 2
            server.client.put(alias, json={"version": version}).raise_for_status()
            until = time.monotonic() + 1
            while time.monotonic() < until:
                answer = server.client.post("/predict", json=request)
                assert answer.status_code == 200, answer.text
                assert answer.json()["version"] == version
                [prediction] = answer.json()["predictions"]
                assert prediction["value"] == pytest.approx(values[version])
                checked += 1
        load.finish()
        served, grown = mean(load.served), resident_mib(server) / warm
        assert server.job(job_id)["status"] == "running"
        server.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
        server.wait(job_id)
        print(
            json.dumps(
                {
                    "seconds": SECONDS,
                    "capacity": load.capacity,
                    "served_per_second": served,
                    "share": served / load.capacity,
                    "flips": flip,
                    "checked": checked,
                    "memory_growth": grown,
                }
            )
        )
        assert grown < 1.05
