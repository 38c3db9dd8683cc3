"""Live streams: every watcher receives every event once, in order."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx

from tests.conftest import LINE
from tests.system.server import PATIENCE, Server

EPOCHS = 3000
SPEC: dict[str, Any] = LINE | {"name": "watched", "epochs": EPOCHS, "report_every": 1000}


async def watch(client: httpx.AsyncClient, job_id: str, leave_at: int | None) -> list[int]:
    """Return the epochs seen by a watcher that disconnects midway and reconnects."""
    epochs: list[int] = []
    last = "0"
    while True:
        headers = {"Last-Event-ID": last}
        async with client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
            if response.status_code == 204:
                return epochs
            async for line in response.aiter_lines():
                if line.startswith("id: "):
                    last = line.removeprefix("id: ")
                    if leave_at is not None and len(epochs) >= leave_at:
                        leave_at = None
                        break
                elif line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    if event["kind"] == "epoch":
                        epochs.append(event["epoch"])


def test_every_watcher_sees_every_epoch_once_in_order(server: Server) -> None:
    job_id = server.submit(SPEC)

    async def all_watch() -> list[list[int]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=server.client.base_url, timeout=PATIENCE, limits=limits
        ) as client:
            leaving = [None, 1, EPOCHS // 2, EPOCHS - 1] * 10
            return await asyncio.gather(*(watch(client, job_id, at) for at in leaving))

    for epochs in asyncio.run(all_watch()):
        assert epochs == list(range(1, EPOCHS + 1))


def test_stream_replays_past_events_and_ends_with_the_job(server: Server) -> None:
    job_id = server.submit(SPEC | {"epochs": 20})
    live = list(server.events(job_id))
    assert live[0]["data"] == {"status": "queued"}
    assert live[1]["data"] == {"status": "running", "attempt": 1}
    assert live[-1]["data"]["status"] == "succeeded"
    assert list(server.events(job_id)) == live
    assert Counter(event["kind"] for event in live) == {"status": 3, "log": 2, "epoch": 20}
