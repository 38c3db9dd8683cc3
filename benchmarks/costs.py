"""Cost of crafted requests: what one of them takes from all others, in time and in memory.

Starts the service and sends one case after another. While a case is worked on, another connection
asks `GET /health/live` every few milliseconds: the longest time to an answer is how long the event
loop was frozen. Memory is the web process's, above what it had before the case: at its peak, and
a second after the last answer.

    python -m benchmarks.costs                 # every case
    python -m benchmarks.costs ndjson v2       # the cases with these words in their names
"""

import http.client
import io
import re
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.crafted_requests import CASES, MIB, Sent
from tests.conftest import PLANE
from tests.system.server import Server, serving

POLL_SECONDS = 0.005
GIVE_BACK_SECONDS = 1.0


@dataclass(frozen=True)
class Cost:
    """Measured cost of a case; `sent` is in bytes, decompressed."""

    sent: int
    statuses: list[int]
    seconds: float
    frozen: float
    peak: int
    kept: int


class Memory:
    """Memory of a process."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")

    def reset_peak(self) -> None:
        (self._directory / "clear_refs").write_text("5")

    def resident(self) -> int:
        return self._figure("VmRSS")

    def peak(self) -> int:
        return self._figure("VmHWM")

    def _figure(self, name: str) -> int:
        match = re.search(rf"{name}:\s+(\d+) kB", (self._directory / "status").read_text())
        assert match
        return 1024 * int(match[1])


def connect(server: Server) -> http.client.HTTPConnection:
    url = server.client.base_url
    return http.client.HTTPConnection(url.host, url.port, timeout=300)


@contextmanager
def longest_gap(server: Server) -> Iterator[Callable[[], float]]:
    """Poll the service on a connection of its own; yield a function that returns the longest time
    to an answer so far."""
    stop, gaps = threading.Event(), [0.0]

    def poll() -> None:
        connection = connect(server)
        while not stop.wait(POLL_SECONDS):
            start = time.perf_counter()
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
            gaps.append(time.perf_counter() - start)
        connection.close()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield lambda: max(gaps)
    finally:
        stop.set()
        thread.join()


def send(server: Server, sent: Sent) -> int:
    """Return the status of the response; 0 if the connection was closed instead."""
    connection = connect(server)
    try:
        connection.request("POST", sent.path, sent.body, sent.headers)
        response = connection.getresponse()
        response.read()
        return response.status
    except (BrokenPipeError, ConnectionResetError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def measure(server: Server, requests: Sequence[Sent], pause: float = GIVE_BACK_SECONDS) -> Cost:
    """Send `requests` at the same time and return what they cost; the memory kept is that after a
    `pause` in seconds."""
    memory, statuses = Memory(server.process.pid), [0] * len(requests)
    memory.reset_peak()
    before = memory.resident()

    def post(number: int) -> None:
        statuses[number] = send(server, requests[number])

    threads = [threading.Thread(target=post, args=[n]) for n in range(len(requests))]
    with longest_gap(server) as gap:
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        time.sleep(pause)
        frozen = gap()
    peak, kept = memory.peak() - before, memory.resident() - before
    sent = sum(r.unpacked or len(r.body) for r in requests)
    return Cost(sent, statuses, seconds, frozen, peak, kept)


def train(server: Server) -> None:
    """Train the models that the cases name: `plane` on three features, `dots` on images."""
    server.run(PLANE | {"epochs": 1})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(20):
            pixels = np.full((8, 8), 255 * (number % 2), np.uint8)
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, "PNG")
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", image.getvalue())
    response = server.client.post("/datasets?name=dots", content=file.getvalue())
    response.raise_for_status()
    dataset = {"kind": "upload", "id": response.json()["id"]}
    server.run({"name": "dots", "dataset": dataset, "epochs": 1})


def main(words: Sequence[str]) -> None:
    cases = {n: case for n, case in CASES.items() if not words or any(w in n for w in words)}
    heading = "case", "sent", "status", "seconds", "frozen", "peak", "kept"
    print("| {:42} | {:>8} | {:>7} | {:>7} | {:>9} | {:>9} | {:>9} |".format(*heading), flush=True)
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory), trainers=1) as server:
        train(server)
        for name, case in cases.items():
            cost = measure(server, case())
            statuses = ", ".join(map(str, sorted(set(cost.statuses))))
            print(
                f"| {name:42} | {cost.sent / 1024:4,.0f} KiB | {statuses:>7} | {cost.seconds:7.2f} "
                f"| {1000 * cost.frozen:6,.0f} ms | {cost.peak / MIB:5,.0f} MiB "
                f"| {cost.kept / MIB:5,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
