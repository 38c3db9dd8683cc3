"""An answer that is no success becomes the exception that says what happened."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

import epochd
from epochd.errors import api_error, seconds_of
from tests.epochd.transports import KINDS, answers, problem


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, epochd.BadRequest),
        (401, epochd.Unauthorized),
        (403, epochd.Forbidden),
        (404, epochd.NotFound),
        (409, epochd.Conflict),
        (412, epochd.PreconditionFailed),
        (413, epochd.TooLarge),
        (415, epochd.UnsupportedMediaType),
        (422, epochd.Invalid),
        (429, epochd.TooManyRequests),
        (503, epochd.Unavailable),
        (504, epochd.DeadlineExceeded),
        (507, epochd.InsufficientStorage),
        (418, epochd.ApiError),
        (500, epochd.ApiError),
    ],
)
def test_each_status_has_its_exception(status: int, kind: type[epochd.ApiError]) -> None:
    with pytest.raises(epochd.ApiError) as caught:
        answers(problem(status, "the reason")).client().me()
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.title, error.detail) == (status, "Title", "the reason")
    assert str(error) == f"{status} Title: the reason"
    assert isinstance(error, epochd.EpochdError)


@pytest.mark.parametrize("kind", KINDS)
def test_an_invalid_request_lists_its_faults(kind: str) -> None:
    faults = [
        {"loc": ["body", "epochs"], "msg": "must be positive"},
        {"loc": ["body", "inputs", 3, "x"], "msg": "must be a number"},
    ]
    answer = problem(422, "body.epochs: must be positive (and 1 more)", errors=faults)
    with pytest.raises(epochd.Invalid) as caught:
        answers(answer).run(kind, lambda client: client.train(epochs=-1))
    assert [fault.loc for fault in caught.value.errors] == [
        ("body", "epochs"),
        ("body", "inputs", 3, "x"),
    ]
    assert str(caught.value).endswith(
        "\n  body.epochs: must be positive\n  body.inputs.3.x: must be a number"
    )


def test_an_answer_of_the_inference_protocol_has_its_reason() -> None:
    assert api_error(404, {"error": "no model"}).detail == "no model"


@pytest.mark.parametrize("document", [None, [], "x", {"errors": [3, {"loc": 3}]}, {"detail": ""}])
def test_an_odd_document_is_an_error_too(document: object) -> None:
    error = api_error(422, document)
    assert isinstance(error, epochd.Invalid)
    assert error.errors == ()
    assert "does not say why" in str(error)


def test_a_page_of_a_proxy_is_quoted() -> None:
    with pytest.raises(epochd.ApiError, match="<h1>Out of order"):
        answers(httpx.Response(500, text="<h1>Out of order</h1>")).client().me()


def test_a_redirect_names_the_address_to_use() -> None:
    moved = httpx.Response(308, headers={"location": "https://epochd.test/me"})
    with pytest.raises(epochd.ApiError, match=r"moved to https://epochd.test/me; use that"):
        answers(moved).client(key="epd_secret").me()


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="hello"), httpx.Response(200, json={"role": "admin"})]
)
def test_another_program_at_the_address_is_recognized(answer: httpx.Response) -> None:
    with pytest.raises(epochd.UnexpectedAnswer, match="GET /me is not one of epochd"):
        answers(answer).client().me()


def test_retry_after_is_seconds_or_a_date() -> None:
    assert seconds_of("7") == 7
    assert seconds_of(None) is None
    assert seconds_of("soon") is None
    at = datetime.now(UTC) + timedelta(seconds=100)
    seconds = seconds_of(format_datetime(at, usegmt=True))
    assert seconds is not None
    assert 90 < seconds <= 100
    assert seconds_of("Thu, 01 Jan 1970 00:00:00 GMT") == 0
