"""What a prediction costs: epochd beside the ways people write it, and beside no work at all.

    python -m benchmarks.serving [--datasets DIR] [--rounds 3] [--seconds 4] [--json FILE]

Each server has one web process and the MNIST network (784-512-256-10). `wrk`, which has to be
installed, asks with one image a request, in turn, for so many seconds. Printed are medians and
ratios to a bare uvicorn application that reads the same body and answers a constant. LitServe is
left out where it is not installed. At last the 99th percentile of epochd at 50 requests a second,
with idle trainers and with one that trains.
"""

import argparse
import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from tests.system.server import Server, serving

CONNECTIONS = (64, 1)
PIXELS = [(i * 37) % 256 for i in range(784)]
SPEC: dict[str, Any] = {"dataset": {"kind": "mnist"}, "epochs": 1}
BARE = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
"""
NETWORK = """
import torch
from torch import nn
torch.set_num_threads(1)
network = nn.Sequential(
    nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 256), nn.ReLU(),
    nn.Linear(256, 10),
).eval()
def predict(rows):
    with torch.no_grad():
        inputs = (torch.tensor(rows, dtype=torch.float32) / 255 - 0.1307) / 0.3081
        return torch.softmax(network(inputs), 1).tolist()
"""
TUTORIAL = (
    NETWORK
    + """
from fastapi import FastAPI
from pydantic import BaseModel
class Question(BaseModel):
    inputs: list[list[float]]
app = FastAPI()
@app.post("/predict")
def answer(question: Question):
    return {"predictions": predict(question.inputs)}
"""
)
LITSERVE = (
    NETWORK
    + """
import sys
import litserve
class Api(litserve.LitAPI):
    def setup(self, device): pass
    def decode_request(self, request): return request["inputs"]
    def predict(self, inputs): return predict(inputs)
    def encode_response(self, output): return {"predictions": output}
if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False, num_api_servers=1)
"""
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def script(text: str, *command: str) -> Iterator[str]:
    """Run a server written in `text`; {} in the command is its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "served.py").write_text(text)
        process = subprocess.Popen(
            [sys.executable, *(part.format(port) for part in command)],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            body = {"inputs": [PIXELS]}
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx.post(f"{url}/predict", json=body, timeout=30).raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield url
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
            process.wait()


UVICORN = ("-m", "uvicorn", "served:app", "--port", "{}", "--no-access-log")
RIVALS: dict[str, Callable[[], Any]] = {
    "a bare ASGI application": partial(script, BARE, *UVICORN),
    "the FastAPI tutorial's way": partial(script, TUTORIAL, *UVICORN),
    "LitServe": partial(script, LITSERVE, "served.py", "{}"),
}


def wrk(url: str, connections: int, seconds: int, body: bytes, kind: str) -> float:
    """Return the requests a second that were answered."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
        escaped = "".join(f"\\{byte:03d}" for byte in body)
        lua.write(f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{kind}"\n')
        lua.write(f'wrk.body = "{escaped}"\n')
        lua.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", lua.name, url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    match = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert match, told
    return float(match[1])


def steady(server: Server, seconds: int) -> float:
    """Return the 99th percentile of the time, in milliseconds, of an answer at 50 a second."""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", type=Path, default=Path("data/datasets"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    json_body = json.dumps({"model": "mnist", "inputs": [PIXELS]}).encode()
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options.datasets.mkdir(parents=True, exist_ok=True)
        (directory / "datasets").symlink_to(options.datasets.resolve())
        server = stack.enter_context(serving(directory, trainers=1, trainer_threads=1))
        server.run(SPEC)
        ours = str(server.client.base_url).rstrip("/")
        questions: dict[str, tuple[str, bytes, str]] = {
            "epochd, JSON": (f"{ours}/predict", json_body, "application/json"),
            "epochd, bytes": (
                f"{ours}/predict?model=mnist",
                bytes(PIXELS),
                "application/octet-stream",
            ),
        }
        for name, start in RIVALS.items():
            if name == "LitServe" and find_spec("litserve") is None:
                print("LitServe: left out, it is not installed", file=sys.stderr)
                continue
            url = f"{stack.enter_context(start())}/predict"
            questions[name] = (url, json_body, "application/json")
            if name == "a bare ASGI application":
                questions[f"{name}, bytes"] = (url, bytes(PIXELS), "application/octet-stream")
        for connections in CONNECTIONS:
            for _ in range(options.rounds):
                for name, (url, body, kind) in questions.items():
                    rate = wrk(url, connections, options.seconds, body, kind)
                    rates.setdefault(f"{name} x{connections}", []).append(rate)
            base = statistics.median(rates[f"a bare ASGI application x{connections}"])
            print(f"{connections} connections{'requests/s':>28}{'of the bare':>13}")
            for name in questions:
                measured = sorted(rates[f"{name} x{connections}"])
                rate = statistics.median(measured)
                low, high = measured[0], measured[-1]
                print(f"  {name:30}{rate:9,.0f}{rate / base:13.3f}   {low:,.0f} to {high:,.0f}")
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
        record = {"rates": rates, "p99_idle_ms": idle, "p99_training_ms": busy}
        options.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
