"""`POST /predict` as a plain ASGI application, for speed."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ml.decoding import decoding
from ml.errors import Invalid
from ml.inference.model import Inputs, Model
from ml.inputs.json_slices import NotJson
from service.access.caller import Caller, caller_of
from service.errors import BadRequest, ClientGone, Problem, Unprocessable
from service.http.body_limit import joined, read_chunks
from service.http.problem_json import refusal
from service.predictions import explanation
from service.predictions.images import read_images
from service.predictions.long_json import read_long_json
from service.predictions.model_cache import LoadedModel, ModelCache
from service.predictions.ndjson import predict_lines
from service.predictions.payloads import (
    FORM,
    JSON,
    LIGHT_BYTES,
    NDJSON,
    ImageFiles,
    Payload,
    media_type,
    read_form,
    reader_of,
)
from service.predictions.prediction_quotas import PredictionQuotas
from service.predictions.responses import (
    encode_explained,
    encode_long_response,
    encode_response,
)
from service.predictions.unknown import UnknownValues
from service.settings import Settings
from service.work import Work
from service.work.attended import AttendedRequest

Result = TypeVar("Result")

PATH = "/predict"
MANY_ROWS = 512
"""Number of predictions from which the response is encoded in a thread."""
MEMORY_PER_BYTE = 4
"""Estimate of the memory that a body takes while it is decoded, as a multiple of its size."""
EXPLAINED = (Problem, ClientGone, HTTPException, RequestValidationError)
"""Errors that need no further explanation."""


class PredictEndpoint:
    """ASGI application that handles `POST /predict` and passes on all other requests.

    It wraps the framework, whose overhead exceeds the inference time of a small model.
    """

    def __init__(
        self,
        app: ASGIApp,
        model_cache: ModelCache,
        quotas: PredictionQuotas,
        settings: Settings,
        work: Work,
    ) -> None:
        self._app = app
        self._work = work
        self._model_cache = model_cache
        self._quotas = quotas
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            self._quotas.check(caller_of(scope))
            content_type = media_type(scope)
            if content_type == NDJSON:
                if explanation.is_asked(scope):
                    raise explanation.refusal(f"is not offered for {NDJSON}; send images or rows")
                request = Request(scope, receive)
                response = await predict_lines(
                    request, self._model_cache, self._settings, self._work
                )
                await response(scope, receive, send)
                return
            body = await self._predict(content_type, scope, receive)
        except ClientGone:
            return
        except Exception as error:
            response = await refusal(Request(scope), error)
            await response(scope, receive, send)
            return
        length = b"%d" % len(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _predict(self, content_type: str, scope: Scope, receive: Receive) -> bytes:
        read = None if content_type == FORM else reader_of(content_type)
        chunks = await read_chunks(scope, receive, self._settings.max_body_bytes)
        size = sum(map(len, chunks))
        request = AttendedRequest(receive, self._settings.predict_seconds)
        payload: Payload | None = None
        is_explained = explanation.is_asked(scope)
        try:
            if read is not None and size < LIGHT_BYTES:
                with decoding("the body", *EXPLAINED):
                    payload = read(scope, joined(chunks))
                loaded, inputs = await self._find_and_convert(
                    payload, caller_of(scope), request, is_explained
                )
            else:
                async with self._work.memory.hold(MEMORY_PER_BYTE * size, request):
                    body = await request.run(self._work.decode, joined, chunks)
                    payload = await self._read_long(content_type, scope, body, request)
                    loaded, inputs = await self._find_and_convert(
                        payload, caller_of(scope), request, is_explained
                    )
            predictions, places = await self._model_cache.predict(loaded, inputs, receive)
        except NotJson as error:
            raise BadRequest(f"the body {error.msg}") from None
        except Invalid as error:
            loc = payload.place(error.loc) if payload else ("body", *error.loc)
            raise Unprocessable.at(Invalid(error.msg), *loc) from None
        if is_explained:
            encode = partial(encode_explained, loaded, predictions, inputs)
            return await request.run(self._work.decode, encode, request.check)
        unknown = UnknownValues(loaded.model, places, payload.row)
        if len(predictions) < MANY_ROWS:
            return encode_response(loaded, predictions, unknown)
        return await request.run(
            self._work.decode, encode_long_response, loaded, predictions, unknown, request.check
        )

    async def _read_long(
        self, content_type: str, scope: Scope, body: bytes, request: AttendedRequest
    ) -> Payload:
        if content_type == FORM:
            with decoding("the form", *EXPLAINED):
                return await read_form(scope, body)
        if content_type == JSON:
            read = partial(read_long_json, body, self._settings, request.check)
        else:
            read = partial(reader_of(content_type), scope, body)
        return await request.run(self._work.decode, _decoded, "the body", read)

    async def _find_and_convert(
        self, payload: Payload, caller: Caller, request: AttendedRequest, is_explained: bool
    ) -> tuple[LoadedModel, Inputs]:
        """Return the model of a request, and the request's inputs in the form that it takes."""
        loaded = await self._model_cache.find(payload.model, caller)
        if is_explained:
            explanation.check_images(loaded.model)
        return loaded, await self._inputs(payload, loaded.model, request)

    async def _inputs(self, payload: Payload, model: Model, request: AttendedRequest) -> Inputs:
        if payload.is_light:
            with decoding("the body", *EXPLAINED):
                return payload.inputs(model, self._settings)
        if isinstance(payload, ImageFiles):
            return await read_images(payload, model, self._settings, self._work, request)
        convert = partial(payload.inputs, model, self._settings, request.check)
        return await request.run(self._work.decode, _decoded, "the body", convert)


def _decoded(subject: str, read: Callable[[], Result]) -> Result:
    with decoding(subject, *EXPLAINED):
        return read()
