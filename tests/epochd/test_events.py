"""Streams of events go on where they broke off, and end with the job."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

import epochd
from epochd.events import EventParser
from epochd.schemas import JobInfo
from tests.epochd.samples import AT, DONE, FAILED, JOB
from tests.epochd.transports import KINDS, Clock, Service, answers, problem


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.install(monkeypatch)
    return clock


def sent(number: int, kind: str = "epoch", **data: Any) -> bytes:
    event = {"id": number, "kind": kind, "epoch": number, "step": None, "created_at": AT}
    text = json.dumps(event | {"data": data}, ensure_ascii=False)
    return f"event: {kind}\nid: {number}\ndata: {text}\n\n".encode()


ENDED = sent(9, "status", status="succeeded")


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in parts, after which the connection breaks if `error` is given."""

    def __init__(self, *parts: bytes, error: Exception | None = None) -> None:
        self._parts, self._error = parts, error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        if self._error:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def stream(*parts: bytes, error: Exception | None = None) -> httpx.Response:
    return httpx.Response(200, stream=Stream(*parts, error=error))


def follow(service: Service, kind: str, **options: Any) -> list[int]:
    def events(client: Any) -> Any:
        job: type = epochd.Job if isinstance(client, epochd.Client) else epochd.AsyncJob
        return job(client, JobInfo.model_validate(JOB)).events(**options)

    return [event.id for event in service.run(kind, events)]


def asked(service: Service) -> list[str]:
    return [request.headers["Last-Event-ID"] for request in service.requests]


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_stream_goes_on_after_the_last_event(kind: str) -> None:
    service = answers(
        stream(sent(1), sent(2), error=httpx.ReadError("broken")),
        httpx.ConnectError("restarting"),
        stream(sent(3)),  # the service stops
        problem(503, headers={"Retry-After": "1"}),
        stream(sent(4) + ENDED),
    )
    assert follow(service, kind) == [1, 2, 3, 4, 9]
    assert asked(service) == ["0", "2", "2", "3", "3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_was_read_has_no_content(kind: str) -> None:
    service = answers(httpx.Response(204))
    assert follow(service, kind, after=9) == []
    assert asked(service) == ["9"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_deleted_meanwhile_is_not_found(kind: str) -> None:
    with pytest.raises(epochd.NotFound, match="there is no job"):
        follow(answers(stream(sent(1)), problem(404, "there is no job")), kind)


def test_a_job_that_was_retried_goes_on() -> None:
    past = sent(1, "status", status="failed") + sent(2, "status", status="queued")
    assert follow(answers(stream(past, ENDED)), "blocking") == [1, 2, 9]


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_that_stays_away_is_given_up(kind: str, clock: Clock) -> None:
    with pytest.raises(epochd.ServiceNotReached):
        follow(answers(stream(sent(1)), httpx.ConnectError("refused")), kind)
    assert 20 < sum(clock.slept) < 40


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_ends_in_time(kind: str, clock: Clock) -> None:
    with pytest.raises(TimeoutError, match="has not ended within 5 seconds"):
        follow(Service(lambda request: stream()), kind, timeout=5)
    assert 4 < sum(clock.slept) <= 6


def test_events_come_whole_however_the_bytes_are_divided() -> None:
    lines = sent(1, message="a\u2028b\x85c\x1cd") + b": keep-alive\n\n" + sent(2, "log", m="é")
    for place in range(len(lines)):
        parser = EventParser()
        events = parser.feed(lines[:place]) + parser.feed(lines[place:])
        assert [event.id for event in events] == [1, 2]
        assert events[0].data == {"message": "a\u2028b\x85c\x1cd"}


def test_other_lines_of_a_later_service_are_passed_over() -> None:
    parser = EventParser()
    odd = b'retry: 5\r\n\r\ndata: {"hello": 1}\r\n\r\ndata: no json\n\n'
    assert [event.id for event in parser.feed(odd + sent(3))] == [3]


def waiting(job: dict[str, Any]) -> Service:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return stream(sent(1), ENDED)
        return httpx.Response(200, json=job if len(service.requests) > 1 else JOB)

    service = Service(handle)
    return service


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_returns_the_job_with_its_model(kind: str) -> None:
    async def wait(client: epochd.AsyncClient) -> epochd.AsyncJob:
        return await (await client.job("job_1")).wait()

    service = waiting(DONE)
    use = wait if kind == "asynchronous" else lambda client: client.job("job_1").wait()
    job = service.run(kind, use)
    assert job.status == "succeeded"
    assert str(job.info.model) == "line@3"


def test_waiting_for_a_job_that_fails_says_why() -> None:
    with pytest.raises(epochd.JobFailed, match=r"job_1, 'line', failed \(diverged\): loss is"):
        waiting(FAILED).client().job("job_1").wait()
