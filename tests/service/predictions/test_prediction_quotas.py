"""Quotas of predictions a second."""

import pytest

from service.access.caller import ANYBODY, Caller, Role
from service.errors import QuotaExceeded
from service.predictions.prediction_quotas import PredictionQuotas
from service.settings import Settings
from service.settings.quotas import parse_quotas

APP = Caller(Role.PREDICTOR, "app")
ANNA = Caller(Role.MEMBER, "anna")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def quotas(text: str, clock: Clock, web_workers: int = 1) -> PredictionQuotas:
    settings = Settings(quotas=parse_quotas(text), web_workers=web_workers)
    return PredictionQuotas(settings, clock)


def test_requests_within_the_rate_are_answered() -> None:
    clock = Clock()
    limited = quotas("predictor: predictions_per_second=4", clock)
    assert [limited.take(APP) for _ in range(5)] == [True] * 4 + [False]
    clock.now += 0.25
    assert [limited.take(APP) for _ in range(2)] == [True, False]
    # What is not used in a second is not saved.
    clock.now += 3600
    assert sum(limited.take(APP) for _ in range(20)) == 4
    assert all(limited.take(ANNA) and limited.take(ANYBODY) for _ in range(20))


def test_refusal_says_when_the_next_is_answered() -> None:
    clock = Clock()
    limited = quotas("app: predictions_per_second=0.1", clock)
    limited.check(APP)
    clock.now += 2.0
    with pytest.raises(QuotaExceeded) as error:
        limited.check(APP)
    assert "app sends more than 0.1 prediction requests a second" in error.value.detail
    assert "the next is answered in 8 seconds" in error.value.detail
    assert error.value.response_headers() == {"Retry-After": "8"}
    clock.now += 8.0
    limited.check(APP)


def test_web_processes_share_the_quota() -> None:
    limited = quotas("member: predictions_per_second=8", Clock(), web_workers=4)
    assert sum(limited.take(ANNA) for _ in range(20)) == 2
    with pytest.raises(QuotaExceeded, match="of which this web process has 1/4"):
        limited.check(ANNA)


def test_keys_of_an_owner_with_one_limit_share_it() -> None:
    annas_app, annas_admin = Caller(Role.PREDICTOR, "anna"), Caller(Role.ADMIN, "anna")
    limited = quotas("anna: predictions_per_second=4", Clock())
    callers = [ANNA, annas_app, annas_admin] * 5
    assert sum(limited.take(caller) for caller in callers) == 4
    # Of roles with limits of their own, each key has that of its role.
    limited = quotas(
        "member: predictions_per_second=4; predictor: predictions_per_second=2", Clock()
    )
    assert [sum(limited.take(one) for _ in range(9)) for one in (ANNA, annas_app)] == [4, 2]


def test_other_quotas_cost_nothing() -> None:
    assert not quotas("member: waiting=1", Clock()).in_use
    assert not quotas("", Clock()).in_use
