"""Error responses as `application/problem+json` (RFC 9457)."""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ml.errors import Damaged, Loc, shortened
from ml.strict import sentence
from service.errors import (
    ClientGone,
    FilesDamaged,
    Problem,
    Unavailable,
    UnsupportedMediaType,
)
from service.schemas import named
from service.storage.failures import diagnose

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
MAX_ERRORS = 100
"""Number of errors that a problem document lists; a document may have thousands."""
MEDIA_TYPE = "application/problem+json"
TITLES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Phrases of RFC 9110; before Python 3.13, `HTTPStatus` has older ones for these four."""


class Error(BaseModel):
    """An error at a place of the request."""

    loc: list[str | int] = Field(
        description="Path of the value.", examples=[["body", "optimizer", "lr"]]
    )
    msg: str = Field(description="What is wrong, and what would be right.")


class ProblemDocument(BaseModel):
    """An error as described by RFC 9457."""

    type: str = Field(examples=["urn:epochd:unprocessable-content"])
    title: str = Field(description="Phrase of the status.")
    status: int = Field(description="Status of the response.")
    detail: str = Field(description="What is wrong, in a sentence.")
    errors: list[Error] | None = Field(
        default=None, description="Errors in the request, up to 100, with their places."
    )


class _Response(JSONResponse):
    """A response that may quote a string of the request that UTF-8 cannot encode: half of a
    surrogate pair, which JSON writes as an escape."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def problems(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that can fail with these problems."""
    content = {MEDIA_TYPE: {"schema": named(ProblemDocument)}}
    meanings: dict[int, list[str]] = {}
    for kind in kinds:
        meanings.setdefault(kind.status.value, []).append(" ".join((kind.__doc__ or "").split()))
    return {
        status: {"description": " ".join(texts), "content": content}
        for status, texts in meanings.items()
    }


def respond(
    status: int,
    detail: str,
    errors: Sequence[tuple[Loc, str]] = (),
    headers: dict[str, str] | None = None,
    kind: str | None = None,
) -> JSONResponse:
    """Return a problem document as a response."""
    content = document(status, detail, kind)
    if errors:
        content["errors"] = [{"loc": list(loc), "msg": msg} for loc, msg in errors]
    return _Response(content, status, headers, media_type=MEDIA_TYPE)


def document(status: int, detail: str, kind: str | None = None) -> dict[str, Any]:
    """Return a problem document; its type follows from the status unless `kind` is given."""
    title = TITLES[status]
    return {
        "type": f"urn:epochd:{kind or title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
    }


def install(app: FastAPI) -> None:
    """Render every error that a route of `app` raises as a problem document."""
    for kind in _HANDLERS:
        app.add_exception_handler(kind, refusal)


async def refusal(request: Request, error: Exception) -> JSONResponse:
    """Return the problem document for an error; under `/v2`, the protocol's error object."""
    kind = next(kind for kind in type(error).__mro__ if kind in _HANDLERS)
    return in_form_of(request.url.path, await _HANDLERS[kind](request, error))


def in_form_of(path: str, response: JSONResponse) -> JSONResponse:
    """Return a problem document as clients of `path` expect it: under `/v2`, as the protocol's
    error object."""
    if not path.startswith("/v2") or response.status_code == CLIENT_CLOSED_REQUEST:
        return response
    body = {"error": json.loads(bytes(response.body))["detail"]}
    headers = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
    return _Response(body, response.status_code, headers)


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return respond(error.status, error.detail, error.errors, error.response_headers(), error.type)


async def _damaged(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Damaged)
    return await _problem(request, FilesDamaged(error.brief()))


async def _database_failed(request: Request, error: Exception) -> JSONResponse:
    failure = diagnose(error)
    if failure is None:
        return await _unexpected(request, error)
    logger.warning("%s %s: the database %s", request.method, request.url.path, failure.reason)
    headers = {"Retry-After": str(failure.retry_after)}
    return respond(Unavailable.status, f"the database {failure.reason}", headers=headers)


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if isinstance(error.__cause__, UnicodeDecodeError):
        detail = f"the body is not valid JSON: it is not UTF-8 ({error.__cause__.reason})"
    return respond(error.status_code, detail, headers=dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    logger.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return respond(500, "an unexpected error occurred; the traceback is in the service's log")


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = str(found[0]["ctx"]["error"])
        return respond(400, f"the body is not valid JSON: {reason}", [(found[0]["loc"], reason)])
    if isinstance(error.body, bytes):
        detail = "the body must be JSON; send it with the header `content-type: application/json`"
        return respond(UnsupportedMediaType.status, detail)
    errors = [(shortened(_place(e["loc"], error.body)), sentence(e)) for e in found[:MAX_ERRORS]]
    loc, msg = errors[0]
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return respond(422, f"{'.'.join(map(str, loc))}: {msg}{more}", errors)


async def _client_gone(request: Request, error: Exception) -> JSONResponse:
    # Nobody reads it.
    return JSONResponse(None, CLIENT_CLOSED_REQUEST)


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
    Problem: _problem,
    Damaged: _damaged,
    RequestValidationError: _invalid_request,
    HTTPException: _http_exception,
    SQLAlchemyError: _database_failed,
    ClientGone: _client_gone,
    ClientDisconnect: _client_gone,
    Exception: _unexpected,
}


def _place(loc: Loc, body: object) -> Loc:
    """Return `loc` without the union tags that pydantic inserts and the client's document lacks,
    such as `synthetic` in `("body", "dataset", "synthetic", "size")`."""
    if loc[:1] != ("body",) or not isinstance(body, dict):
        return loc
    place: list[str | int] = ["body"]
    at: object = body
    for step in loc[1:]:
        is_key = not isinstance(step, int)
        if is_key and not (isinstance(at, dict) and (step in at or at.get("kind") != step)):
            continue
        place.append(step)
        at = _child(at, step)
    return tuple(place)


def _child(value: object, step: str | int) -> object:
    match value, step:
        case dict(), str():
            return value.get(step)
        case list(), int() if step < len(value):
            return value[step]
    return None
