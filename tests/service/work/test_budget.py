"""Totals that requests share."""

import asyncio

import pytest

from service.errors import ClientGone, Overloaded
from service.work.attended import AttendedRequest
from service.work.budget import Budget
from tests.service.work.clients import Client


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
