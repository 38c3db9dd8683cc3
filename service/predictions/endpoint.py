"""`POST /predict` as a plain ASGI application, for speed."""

from asyncio import to_thread

import orjson
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ml.errors import Invalid
from ml.inference.model import Predictions
from service.errors import ClientGone, Unprocessable
from service.http.problem_json import refusal
from service.predictions.model_cache import LoadedModel, ModelCache
from service.predictions.ndjson import predict_lines
from service.predictions.payloads import NDJSON, media_type, read_payload
from service.settings import Settings

PATH = "/predict"
MANY_ROWS = 512
"""Number of predictions from which the response is encoded in a thread."""


class PredictEndpoint:
    """ASGI application that handles `POST /predict` and passes on all other requests.

    It wraps the framework, whose overhead exceeds the inference time of a small model.
    """

    def __init__(self, app: ASGIApp, model_cache: ModelCache, settings: Settings) -> None:
        self._app = app
        self._model_cache = model_cache
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            content_type = media_type(scope)
            if content_type == NDJSON:
                request = Request(scope, receive)
                response = await predict_lines(request, self._model_cache, self._settings)
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
        payload = await read_payload(content_type, scope, receive, self._settings.max_body_bytes)
        loaded = await self._model_cache.find(payload.model)
        try:
            if payload.is_light:
                inputs = payload.inputs(loaded.model, self._settings)
            else:
                inputs = await to_thread(payload.inputs, loaded.model, self._settings)
            predictions = await self._model_cache.predict(loaded, inputs, receive)
        except Invalid as error:
            raise Unprocessable.at(Invalid(error.msg), *payload.place(error.loc)) from None
        if len(predictions) < MANY_ROWS:
            return encode_response(loaded, predictions)
        return await to_thread(encode_response, loaded, predictions)


def encode_response(loaded: LoadedModel, predictions: Predictions) -> bytes:
    """Return a `PredictResponse` as JSON."""
    return orjson.dumps(
        {
            "model": loaded.ref.name,
            "version": loaded.ref.version,
            "predictions": loaded.model.to_json(predictions),
        }
    )
