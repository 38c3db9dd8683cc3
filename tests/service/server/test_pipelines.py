"""Requests sent without waiting, cut at random places, are answered in order."""

import asyncio
from collections.abc import Callable

import pytest

from tests.service.server.conftest import Client, Scenario
from tests.service.server.pipelines import play


@pytest.mark.parametrize("seed", [1, 2])
def test_requests_cut_at_random(serve: Callable[[Scenario], None], seed: int) -> None:
    async def scenario(client: Client) -> None:
        port = client.server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await play(reader, writer, seed, "line", count=300)
        writer.close()

    serve(scenario)
