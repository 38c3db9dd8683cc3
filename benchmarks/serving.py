"""Cost of a prediction: epochd compared with common implementations and a server that does nothing.

    python -m benchmarks.serving [--rivals] [--datasets DIR] [--rounds 3] [--seconds 4]
                              [--json FILE]

Each server has one web process and the MNIST network (784-512-256-10). `wrk`, which must be
installed, sends requests of one image to each server in turn. Prints median rates, their ratios to
a bare uvicorn application that reads the same body and returns a constant, median latencies, and
the time of the model alone for one image. `--rivals` also installs and measures other servers and
skips those that fail. Finally, prints the 99th percentile of epochd's latency at 50 requests per
second, with an idle and with a busy trainer.
"""

import argparse
import asyncio
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import torch

from benchmarks.rivals import BARE, INSTALLABLE, JSON, PIXELS, TUTORIAL, Rival, Unusable, running
from ml.inference.model import Model
from tests.system.server import Server, serving

# Few connections first: after many, BentoML's adaptive batching delays few as well.
CONNECTIONS = (1, 64)
SPEC: dict[str, Any] = {"dataset": {"kind": "mnist"}, "epochs": 1}
BYTES = "application/octet-stream"
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
WARMING = 1
"""Seconds of warm-up before each measurement."""


class Pace(NamedTuple):
    """Throughput and latency of a server."""

    rate: float
    """Requests per second."""
    median: float
    """Median latency in milliseconds."""


Paces = dict[int, dict[str, list[Pace]]]
"""Results of each round, by number of connections and by name."""


@dataclass(frozen=True)
class Question:
    name: str
    url: str
    body: bytes
    kind: str = JSON


def wrk(question: Question, connections: int, seconds: int) -> Pace:
    """Run `wrk` and return its rate and median latency."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
        escaped = "".join(f"\\{byte:03d}" for byte in question.body)
        lua.write(f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{question.kind}"\n')
        lua.write(f'wrk.body = "{escaped}"\n')
        lua.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", lua.name]
        command.append(question.url)
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    median = re.search(r"^ +50% +([\d.]+)(us|ms|s)$", told, re.MULTILINE)
    assert rate, told
    assert median, told
    return Pace(float(rate[1]), float(median[1]) * MILLISECONDS[median[2]])


def steady(server: Server, seconds: int) -> float:
    """Return the 99th percentile of the latency, in milliseconds, at 50 requests per second."""

    async def ask() -> list[float]:
        took: list[float] = []
        body = {"model": "mnist", "inputs": [PIXELS]}
        async with httpx.AsyncClient(base_url=server.client.base_url) as client:

            async def one() -> None:
                start = time.perf_counter()
                (await client.post("/predict", json=body)).raise_for_status()
                took.append(1000 * (time.perf_counter() - start))

            running = []
            for _ in range(50 * seconds):
                running.append(asyncio.create_task(one()))
                await asyncio.sleep(0.02)
            await asyncio.gather(*running)
        return took

    return statistics.quantiles(asyncio.run(ask()), n=100)[98]


def ours(server: Server) -> list[Question]:
    url = f"{str(server.client.base_url).rstrip('/')}/predict"
    document = json.dumps({"model": "mnist", "inputs": [PIXELS]}).encode()
    return [
        Question("epochd, JSON", url, document),
        Question("epochd, bytes", f"{url}?model=mnist", bytes(PIXELS), BYTES),
    ]


def theirs(rival: Rival, url: str) -> list[Question]:
    questions = [Question(rival.name, url, rival.body)]
    if rival is BARE:
        questions.append(Question(f"{rival.name}, bytes", url, bytes(PIXELS), BYTES))
    return questions


def usable(rival: Rival) -> bool:
    """Install and start the rival; if that fails, print the reason and return False."""
    try:
        with running(rival):
            return True
    except Unusable as reason:
        print(f"{rival.name} skipped: {reason}", file=sys.stderr)
        return False


def forward(models: Path) -> float:
    """Return the milliseconds that the only model in `models` takes for an image."""
    torch.set_num_threads(1)
    [directory] = models.iterdir()
    model = Model.load(directory)
    row = model.rows([PIXELS])

    def took() -> float:
        start = time.perf_counter()
        model.predict(row)
        return 1000 * (time.perf_counter() - start)

    return statistics.median(took() for _ in range(1000))


def measure(questions: list[Question], seconds: int, paces: Paces) -> None:
    for question in questions:
        for connections in CONNECTIONS:
            wrk(question, connections, WARMING)
            pace = wrk(question, connections, seconds)
            paces.setdefault(connections, {}).setdefault(question.name, []).append(pace)


def report(paces: Paces) -> None:
    for connections, named in paces.items():
        base = statistics.median(pace.rate for pace in named[BARE.name])
        print(f"{connections} connections{'requests/s':>28}{'of the bare':>13}{'half within':>17}")
        for name, measured in named.items():
            rates = [pace.rate for pace in measured]
            rate, median = statistics.median(rates), statistics.median(p.median for p in measured)
            print(
                f"  {name:30}{rate:9,.0f}{rate / base:13.3f}{median:14.3f} ms"
                f"   {min(rates):,.0f} to {max(rates):,.0f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rivals", action="store_true", help="also install and measure other servers"
    )
    parser.add_argument("--datasets", type=Path, default=Path("data/datasets"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("terminated")
    )  # so that servers are stopped too
    rivals = [BARE, TUTORIAL, *(filter(usable, INSTALLABLE) if options.rivals else ())]
    paces: Paces = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options.datasets.mkdir(parents=True, exist_ok=True)
        (directory / "datasets").symlink_to(options.datasets.resolve())
        server = stack.enter_context(serving(directory, trainers=1, trainer_threads=1))
        server.run(SPEC)
        for _ in range(options.rounds):
            measure(ours(server), options.seconds, paces)
            # One at a time: some take up to a tenth of a core when idle.
            for rival in rivals:
                with running(rival) as url:
                    measure(theirs(rival, url), options.seconds, paces)
        report(paces)
        alone = forward(directory / "models")
        print(f"the model alone takes {alone:.3f} ms for one image")
        idle = [steady(server, options.seconds) for _ in range(options.rounds)]
        job_id = server.submit(SPEC | {"epochs": 1000})
        server.until(job_id, lambda event: event["kind"] == "step")
        busy = [steady(server, options.seconds) for _ in range(options.rounds)]
        server.client.post(f"/jobs/{job_id}/cancel")
        server.wait(job_id)
        calm, stressed = statistics.median(idle), statistics.median(busy)
        print(
            f"99th percentile at 50 requests/s: idle {calm:.1f} ms, "
            f"training {stressed:.1f} ms, ratio {stressed / calm:.2f}"
        )
    if options.json:
        record = {"paces": paces, "forward_ms": alone, "p99_idle_ms": idle, "p99_training_ms": busy}
        options.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
