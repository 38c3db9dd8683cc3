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
import json
import re
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import PLANE
from tests.system.server import Server, serving

MIB = 1024 * 1024
POLL_SECONDS = 0.005
GIVE_BACK_SECONDS = 1.0
JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}


@dataclass(frozen=True)
class Sent:
    """A request."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: JSON)


Case = Callable[[], Sequence[Sent]]
"""Function that makes requests, which are sent at the same time."""


def v2(*inputs: dict[str, object]) -> list[Sent]:
    return [Sent("/v2/models/plane/infer", json.dumps({"inputs": inputs}).encode())]


def tensor(data: object, shape: list[int], datatype: str = "FP32") -> dict[str, object]:
    return {"name": "inputs", "shape": shape, "datatype": datatype, "data": data}


def v2_long_text() -> list[Sent]:
    numbers: list[object] = [1] * 20_000
    return v2(tensor([*numbers, "a" * 40_000], [20_001]))


def v2_numbers() -> list[Sent]:
    return v2(tensor([0.5] * 30_000, [10_000, 3]))


def v2_empty_texts() -> list[Sent]:
    count = 8_000_000
    about = {
        "name": "inputs",
        "shape": [count],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": 4 * count},
    }
    head = json.dumps({"inputs": [about]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return [Sent("/v2/models/plane/infer", head + bytes(4 * count), headers)]


def predict(inputs: bytes) -> list[Sent]:
    return [Sent("/predict", b'{"model": "plane", "inputs": %b}' % inputs)]


def lines(*bodies: bytes) -> list[Sent]:
    return [Sent("/predict?model=plane", b"\n".join(bodies), NDJSON)]


def unknown_keys(path: str, start: str = "{", end: str = "}", count: int = 1_000_000) -> list[Sent]:
    keys = ",".join(f'"k{n}":0' for n in range(count))
    return [Sent(path, f"{start}{keys}{end}".encode())]


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def png(pixels: int, mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (pixels, pixels), 0).save(file, "PNG")
    return file.getvalue()


def form(count: int) -> Sent:
    """A form of `count` large images."""
    image, boundary = png(7000), b"frontier"
    part = (
        b'--%b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n'
        b"content-type: image/png\r\n\r\n%b\r\n" % (boundary, image)
    )
    headers = {"content-type": "multipart/form-data; boundary=frontier"}
    return Sent("/predict?model=dots", part * count + b"--%b--\r\n" % boundary, headers)


def archive() -> bytes:
    """A zip of two folders of large images."""
    file, image = io.BytesIO(), png(7000)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(4):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", image)
    return file.getvalue()


CASES: dict[str, Case] = {
    "predict: one row": lambda: predict(b"[[0.1, 0.2, 0.3]]"),
    "predict: 10,000 rows": lambda: predict(json.dumps([[0.1, 0.2, 0.3]] * 10_000).encode()),
    "predict: 16 M integers in a row": lambda: predict(b"[[" + b"1," * 16_000_000 + b"1]]"),
    "predict: 10 M empty rows": lambda: predict(b"[" + b"[]," * 10_000_000 + b"[]]"),
    "predict: 1,000 lists deep": lambda: predict(deep(1_000)),
    "predict: 900 lists deep": lambda: predict(deep(900)),
    "predict: 130,000 numbers for images": lambda: [
        Sent("/predict", b'{"model":"plane","images":[' + b"1," * 130_000 + b"1]}")
    ],
    "predict: a million unknown keys": lambda: unknown_keys(
        "/predict", '{"model":"plane","inputs":[[1,2,3]],'
    ),
    "predict: a row of a million unknown keys": lambda: predict(
        b"[{%b}]" % b",".join(b'"k%d":0' % n for n in range(1_000_000))
    ),
    "predict: a number of 1 MiB digits": lambda: predict(b"[[" + b"1" * MIB + b",2,3]]"),
    "v2: one long text among numbers": v2_long_text,
    "v2: 10,000 rows": v2_numbers,
    "v2: 8 M empty texts": v2_empty_texts,
    "v2: 10 M numbers": lambda: v2(tensor([1] * 10_000_000, [10_000_000])),
    "v2: 900 lists deep": lambda: [
        Sent(
            "/v2/models/plane/infer",
            b'{"inputs":[{"name":"inputs","shape":[1,3],"datatype":"FP32","data":%b}]}' % deep(900),
        )
    ],
    "v2: parameters of a million keys": lambda: unknown_keys(
        "/v2/models/plane/infer", '{"inputs":[],"parameters":{"a":1},'
    ),
    "ndjson: 10,000 rows": lambda: lines(*[b"[0.1, 0.2, 0.3]"] * 10_000),
    "ndjson: lines of 2 MiB of [],": lambda: lines(*[b"[" + b"[]," * (2 * MIB // 3) + b"[]]"] * 12),
    "ndjson: lines 1,000 lists deep": lambda: lines(*[deep(1_000)] * 500),
    "jobs: a million unknown keys": lambda: unknown_keys("/jobs"),
    "jobs: 40,000 unknown keys": lambda: unknown_keys("/jobs", count=40_000),
    "jobs: 40,000 bad features": lambda: unknown_keys(
        "/jobs", '{"dataset":{"kind":"synthetic","target":"1","features":{', "}}}", 40_000
    ),
    "jobs: 1,000 lists deep": lambda: [Sent("/jobs", b'{"model":%b}' % deep(1_000))],
    "jobs: a million hidden layers": lambda: [
        Sent("/jobs", b'{"model":{"kind":"mlp","hidden":[%b1]}}' % (b"-1," * 1_000_000))
    ],
    "expressions: a million variables": lambda: unknown_keys(
        "/expressions", '{"expression":"1","variables":{', "}}"
    ),
    "evaluate: a million unknown keys": lambda: unknown_keys("/models/plane/versions/1/evaluate"),
    "image: a PNG of 7000 x 7000": lambda: [
        Sent("/predict?model=dots", png(7000), {"content-type": "image/png"})
    ],
    "image: 8 forms of 6 such": lambda: [form(6)] * 8,
    "image: 8 forms of 4 such": lambda: [form(4)] * 8,
    "image: a zip of such": lambda: [Sent("/datasets", archive(), {})],
}


@dataclass(frozen=True)
class Cost:
    """Measured cost of a case."""

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
    return Cost(sum(len(r.body) for r in requests), statuses, seconds, frozen, peak, kept)


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
