"""Cost of live event streams to a training job: epoch time with 500 watchers and with none.

Starts the service with one trainer. Every watcher must see every epoch once, in order. Prints the
epoch times and the ratio of their medians.
"""

import asyncio
import json
import statistics
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.system.server import Server, serving

WATCHERS = (0, 500)
ROUNDS = 3
EPOCHS = 12
SPEC: dict[str, Any] = {
    "name": "watched",
    "dataset": {
        "kind": "synthetic",
        "features": {f"x{n}": {"normal": [0, 1]} for n in range(20)},
        "target": "x0 * x1 + x2",
        "size": 50_000,
    },
    "model": {"kind": "mlp", "hidden": [256, 128]},
    "epochs": EPOCHS,
}


async def watch(client: httpx.AsyncClient, job_id: str) -> None:
    epochs = []
    async with client.stream("GET", f"/jobs/{job_id}/events") as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if event["kind"] == "epoch":
                    epochs.append(event["epoch"])
    assert epochs == list(range(1, EPOCHS + 1)), epochs


async def watched(server: Server, job_id: str, watchers: int) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=server.client.base_url, timeout=600, limits=limits
    ) as client:
        await asyncio.gather(*(watch(client, job_id) for _ in range(watchers)))


def epoch_seconds(server: Server, watchers: int) -> float:
    """Return the median epoch time of one job."""
    job_id = server.submit(SPEC)
    asyncio.run(watched(server, job_id, watchers))
    ends = [
        datetime.fromisoformat(event["created_at"])
        for event in server.events(job_id)
        if event["kind"] == "epoch"
    ]
    return statistics.median((b - a).total_seconds() for a, b in pairwise(ends))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory), trainers=1) as server:
        seconds: dict[int, list[float]] = {watchers: [] for watchers in WATCHERS}
        for _ in range(ROUNDS):
            for watchers in WATCHERS:
                seconds[watchers].append(epoch_seconds(server, watchers))
    none, many = (statistics.median(seconds[watchers]) for watchers in WATCHERS)
    for watchers, measured in seconds.items():
        spread = ", ".join(f"{value:.3f}" for value in sorted(measured))
        print(f"{watchers:4} watchers: an epoch takes {spread} s")
    print(f"ratio {many / none:.2f}")


if __name__ == "__main__":
    main()
