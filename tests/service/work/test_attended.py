"""Work for clients that leave or have a deadline."""

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import ClientGone, DeadlineExceeded
from service.work.attended import AttendedRequest
from tests.service.work.clients import Client


def test_work_for_a_client_that_left_stops_at_its_next_item_and_is_waited_for() -> None:
    async def scenario() -> None:
        client, begun, ended = Client(), asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        request = AttendedRequest(client.receive, 60)

        def work() -> None:
            loop.call_soon_threadsafe(begun.set)
            try:
                while True:
                    request.check()
            finally:
                ended.set()

        with ThreadPoolExecutor(1) as pool:
            running = asyncio.create_task(request.run(pool, work))
            await begun.wait()
            client.leave()
            with pytest.raises(ClientGone):
                await running
            assert ended.is_set()

    asyncio.run(scenario())


def test_work_that_still_waits_for_a_thread_is_dropped() -> None:
    async def scenario() -> None:
        release, client, done = threading.Event(), Client(), list[str]()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(release.wait)
            request = AttendedRequest(client.receive, 60)
            running = asyncio.create_task(request.run(pool, done.append, "never"))
            await asyncio.sleep(0)
            client.leave()
            with pytest.raises(ClientGone):
                await running
            release.set()
        assert done == []

    asyncio.run(scenario())


def test_a_deadline_ends_the_work() -> None:
    async def scenario() -> None:
        request = AttendedRequest(Client().receive, 0.01)

        def work() -> None:
            while True:
                request.check()

        with ThreadPoolExecutor(1) as pool, pytest.raises(DeadlineExceeded, match="longer than"):
            await request.run(pool, work)

    asyncio.run(scenario())


def test_error_does_not_keep_the_work_in_memory() -> None:
    class Body:
        """Stands for a large body."""

    async def scenario() -> "weakref.ref[Body]":
        body = Body()
        request = AttendedRequest(Client().receive, 60)

        def refuse(_: Body) -> None:
            raise ValueError

        with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError):  # noqa: PT011
            await request.run(pool, refuse, body)
        return weakref.ref(body)

    gc.disable()
    try:
        assert asyncio.run(scenario())() is None
    finally:
        gc.enable()
