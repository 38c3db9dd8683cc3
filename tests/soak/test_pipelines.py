"""25,000 pipelined requests, cut at random places: every response is the expected one, with and
without the fast path."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.conftest import LINE
from tests.service.server.pipelines import play
from tests.system.server import serving

REQUESTS = int(os.environ.get("SOAK_REQUESTS", 25_000))
CONNECTIONS = 10
PER_CONNECTION = 250


@pytest.mark.soak
@pytest.mark.parametrize("fast_path", ["on", "off"])
def test_pipelined_requests_cut_at_random(tmp_path: Path, fast_path: str) -> None:
    with serving(tmp_path, trainers=1, fast_path=fast_path) as server:
        server.run(LINE | {"name": "line"})
        url = server.client.base_url

        async def connection(number: int) -> None:
            for seed in range(number, REQUESTS // PER_CONNECTION, CONNECTIONS):
                reader, writer = await asyncio.open_connection(url.host, url.port)
                await play(reader, writer, seed, "line", PER_CONNECTION)
                writer.close()

        async def connections() -> None:
            await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))

        asyncio.run(connections())
