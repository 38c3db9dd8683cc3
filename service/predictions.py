"""`POST /predict`: the one route that has to be fast, and so reads its request itself."""

import asyncio

import orjson
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ml.errors import Invalid
from ml.inference import Answers
from service.body_limit import BodyLimit
from service.errors import Unprocessable, refusal
from service.payloads import NDJSON, media_type, read_payload
from service.predictor import ClientGone, Loaded, Predictor
from service.settings import Settings
from service.streams import predict_lines

PATH = "/predict"
MANY_ROWS = 512
"""So many predictions are written in a thread."""


class Predictions:
    """ASGI middleware that answers `POST /predict` and passes on everything else.

    It stands before the routes: the way through them costs as much as a small model's answer.
    """

    def __init__(self, app: ASGIApp, predictor: Predictor, settings: Settings) -> None:
        self._app = app
        self._predictor = predictor
        self._settings = settings
        self._limited = BodyLimit(self._predict, settings.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif media_type(scope) == NDJSON:
            # It has a limit of its own, since it is never in memory as a whole.
            await self._predict(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if media_type(scope) == NDJSON:
                response = await predict_lines(request, self._predictor, self._settings)
            else:
                response = await self._answer(request)
        except ClientGone:
            return
        except Exception as error:
            response = await refusal(request, error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        payload = await read_payload(request)
        loaded = await self._predictor.find(payload.model)
        try:
            if payload.is_light:
                inputs = payload.inputs(loaded.model, self._settings)
            else:
                inputs = await asyncio.to_thread(payload.inputs, loaded.model, self._settings)
            answers = await self._predictor.answer(loaded, inputs, request.receive)
        except Invalid as error:
            raise Unprocessable.at(Invalid(error.msg), *payload.place(error.loc)) from None
        if len(answers) < MANY_ROWS:
            body = _encoded(loaded, answers)
        else:
            body = await asyncio.to_thread(_encoded, loaded, answers)
        return Response(body, media_type="application/json")


def _encoded(loaded: Loaded, answers: Answers) -> bytes:
    """Return a `PredictResponse`."""
    return orjson.dumps(
        {
            "model": loaded.ref.name,
            "version": loaded.ref.version,
            "predictions": loaded.model.predictions(answers),
        }
    )
