"""Requests are sent again where that is safe, for a limited time."""

import httpx
import pytest

import epochd
from epochd.schemas import JobInfo
from tests.epochd.samples import DATASET, JOB, ME
from tests.epochd.transports import KINDS, Clock, answers, problem


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.install(monkeypatch)
    return clock


def busy(seconds: int = 1, status: int = 503) -> httpx.Response:
    return problem(status, headers={"Retry-After": str(seconds)})


def ok() -> httpx.Response:
    return httpx.Response(200, json=ME)


def submitted() -> httpx.Response:
    return httpx.Response(202, json=JOB)


REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.ReadError("broken")


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_service_is_asked_again_when_it_says(kind: str, clock: Clock) -> None:
    service = answers(busy(3), busy(3, status=429), ok())
    assert service.run(kind, lambda c: c.me()).role == "admin"
    assert clock.slept == [3.0, 3.0]


@pytest.mark.parametrize("kind", KINDS)
def test_not_for_longer_than_the_client_may(kind: str, clock: Clock) -> None:
    service = answers(busy(4))
    with pytest.raises(epochd.Unavailable) as caught:
        service.run(kind, lambda c: c.me(), retry_seconds=10)
    assert caught.value.retry_after == 4
    assert clock.slept == [4.0, 4.0]


def test_a_wait_that_is_too_long_is_left_to_the_caller(clock: Clock) -> None:
    with pytest.raises(epochd.TooManyRequests) as caught:
        answers(busy(60, status=429)).client().me()
    assert caught.value.retry_after == 60
    assert clock.slept == []


@pytest.mark.parametrize("answer", [busy(), BROKEN])
def test_a_request_that_may_not_be_repeated_is_not(answer: httpx.Response | Exception) -> None:
    service = answers(answer)
    with pytest.raises((epochd.Unavailable, epochd.ServiceNotReached)):
        service.client().add_key("anna")
    assert len(service.requests) == 1


def test_a_request_that_never_left_is_sent_again() -> None:
    service = answers(REFUSED, REFUSED, submitted())
    client = service.client()
    assert epochd.Job(client, JobInfo.model_validate(JOB)).cancel().status == "running"
    assert len(service.requests) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_submission_is_repeated_with_its_idempotency_key(kind: str) -> None:
    service = answers(BROKEN, busy(), submitted())
    assert service.run(kind, lambda c: c.train({"dataset": "mnist"}, epochs=2)).id == "job_1"
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1
    assert {request.content for request in service.requests} == {b'{"dataset":"mnist","epochs":2}'}
    again = answers(submitted())
    again.run(kind, lambda c: c.train(dataset="mnist"))
    assert again.requests[0].headers["Idempotency-Key"] not in str(service.requests[0].headers)


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_is_repeated_from_its_beginning(kind: str) -> None:
    service = answers(busy(), BROKEN, httpx.Response(201, json=DATASET))
    assert service.run(kind, lambda c: c.upload(b"a,b\n1,2\n", target="b")).id == "ds_1"
    assert len(service.requests) == 3
    assert all(b"a,b\n1,2\n" in request.content for request in service.requests)


def test_a_request_that_cannot_be_sent_is_not_tried_again(clock: Clock) -> None:
    fault = httpx.LocalProtocolError("illegal header")
    with pytest.raises(httpx.LocalProtocolError):
        answers(fault).client().me()
    assert clock.slept == []


def test_damaged_files_are_not_waited_for(clock: Clock) -> None:
    with pytest.raises(epochd.Damaged, match="restore"):
        answers(problem(503, "restore it", type="urn:epochd:damaged")).client().me()
    assert clock.slept == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_never_answered_is_not_waited_for_long(kind: str, clock: Clock) -> None:
    with pytest.raises(epochd.ServiceNotReached, match=r"http://epochd.test .*EPOCHD_URL"):
        answers(REFUSED).run(kind, lambda c: c.me())
    assert sum(clock.slept) <= 2


def test_one_that_did_is_waited_for(clock: Clock) -> None:
    service = answers(ok(), REFUSED)
    client = service.client(retry_seconds=30)
    client.me()
    with pytest.raises(epochd.ServiceNotReached):
        client.me()
    assert 20 < sum(clock.slept) <= 30


def test_a_proxy_without_its_service_is_asked_again() -> None:
    assert answers(problem(502), ok()).client().me().role == "admin"
