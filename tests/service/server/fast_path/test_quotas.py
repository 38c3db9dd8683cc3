"""Quotas of predictions hold on the fast path too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from service import app
from service.predictions.prediction_quotas import PredictionQuotas
from service.settings import Settings
from service.settings.quotas import parse_quotas
from tests.service.server.conftest import HEADERS, Client, Scenario, request, rows


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # Time stands still: six requests, and then none.
    monkeypatch.setattr(app, "PredictionQuotas", partial(PredictionQuotas, clock=lambda: 0.0))
    quotas = parse_quotas("admin: predictions_per_second=6")
    return Settings(data_dir=tmp_path / "data", trainers=0, quotas=quotas)


def test_requests_above_the_quota_are_refused_on_either_path(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        # The first of the six loaded the model.
        for number in range(5):
            headers = HEADERS[number % 2 == 0]
            assert (await client.ask(request(rows(1), **headers)))[0] == 200
        for headers in HEADERS.values():
            status, answer, body = await client.ask(request(rows(1), **headers))
            assert status == 429
            assert answer["retry-after"] == "1"
            assert b"admin sends more than 6 prediction requests a second" in body

    serve(scenario)


def test_a_request_that_the_fast_path_passes_on_counts_once(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        # Its batch ends with an error, which ASGI reports.
        statuses = [(await client.ask(request(rows(1, 3e38))))[0] for _ in range(6)]
        assert statuses == [422] * 5 + [429]

    serve(scenario)
