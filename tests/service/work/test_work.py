"""Work for clients that leave, and totals that requests share."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.types import Message

from service.errors import ClientGone, DeadlineExceeded, Overloaded
from service.work.attended import AttendedRequest
from service.work.budget import Budget


class Client:
    """A client that stays until it leaves."""

    def __init__(self) -> None:
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._left.set()


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


def test_a_budget_is_given_in_order_of_arrival_and_taken_back() -> None:
    async def scenario() -> None:
        budget, order = Budget(10), list[str]()
        release = asyncio.Event()

        async def hold(name: str, cost: int) -> None:
            async with budget.hold(cost, AttendedRequest(Client().receive, 60)):
                order.append(name)
                await release.wait()

        tasks = []
        for name, cost in [("first", 6), ("large", 8), ("small, behind the large", 1)]:
            tasks.append(asyncio.create_task(hold(name, cost)))
            await asyncio.sleep(0)
        assert (order, budget.free) == (["first"], 4)
        release.set()
        await asyncio.gather(*tasks)
        assert order == ["first", "large", "small, behind the large"]
        assert budget.free == 10

    asyncio.run(scenario())


def test_a_request_above_the_total_runs_alone() -> None:
    async def scenario() -> None:
        budget = Budget(10)
        async with budget.hold(1_000, AttendedRequest(Client().receive, 60)):
            assert budget.free == 0
        assert budget.free == 10

    asyncio.run(scenario())


def test_those_that_wait_in_vain_are_refused_and_hold_up_nobody() -> None:
    async def scenario() -> None:
        budget, leaving = Budget(10), Client()

        async def hold(cost: int, client: Client, seconds: float) -> None:
            async with budget.hold(cost, AttendedRequest(client.receive, seconds)):
                pass

        async with budget.hold(5, AttendedRequest(Client().receive, 60)):
            gone = asyncio.create_task(hold(9, leaving, 60))
            await asyncio.sleep(0)
            late = asyncio.create_task(hold(8, Client(), 0.01))
            await asyncio.sleep(0)
            small = asyncio.create_task(hold(5, Client(), 60))
            with pytest.raises(Overloaded):
                await late
            leaving.leave()
            with pytest.raises(ClientGone):
                await gone
            await small  # fits beside the holder once the two before it are gone
        assert budget.free == 10

    asyncio.run(scenario())
