"""Predictions on newline-delimited JSON, in bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ml.errors import Invalid, Loc
from service.errors import DeadlineExceeded, Overloaded
from service.http.body_limit import too_large
from service.predictions.model_cache import LoadedModel, ModelCache
from service.predictions.payloads import NDJSON
from service.predictions.query import parse_query
from service.settings import Settings

IN_MEMORY = 1024 * 1024
"""Bytes of a body above which it is spooled to a temporary file."""
CHUNK_LINES = 256
RETRY_SECONDS = 0.05
"""Delay before a retry when the queue of the model is full."""


async def predict_lines(request: Request, model_cache: ModelCache, settings: Settings) -> Response:
    """Return a response with one line per line of the request: a prediction or an `error`.

    The response begins after the last line of the request, since most clients write the whole
    request before they read and would otherwise deadlock.

    Raises:
        TooLarge: the body exceeds the limit.
    """
    query = parse_query(request.scope)
    loaded, pixels = await model_cache.find(query.model), query.pixels
    file: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115, closed by `response_lines`
    try:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > settings.max_stream_bytes:
                raise too_large(settings.max_stream_bytes)
            if size <= IN_MEMORY:
                file.write(chunk)
            else:
                await asyncio.to_thread(file.write, chunk)
        file.seek(0)
    except BaseException:
        file.close()
        raise

    async def response_lines() -> AsyncIterator[bytes]:
        with file:
            before = 0
            while lines := await asyncio.to_thread(_lines, file, settings.max_body_bytes):
                yield await _Chunk(loaded, before, lines).predict(model_cache, request, pixels)
                before += len(lines)

    return StreamingResponse(response_lines(), media_type=NDJSON)


def _lines(file: IO[bytes], longest: int) -> list[bytes]:
    """Return the next lines; one over `longest` bytes is split, which makes it invalid JSON."""
    lines = []
    for _ in range(CHUNK_LINES):
        line = file.readline(longest)
        if not line:
            break
        lines.append(line)
    return lines


class _Chunk:
    """Consecutive lines, whose valid rows form one prediction request."""

    def __init__(self, loaded: LoadedModel, before: int, lines: Sequence[bytes]) -> None:
        self._loaded = loaded
        self._before = before
        self._results: list[Any] = [None] * len(lines)
        self._rows: dict[int, object] = {}
        for number, line in enumerate(lines):
            try:
                self._rows[number] = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                self._set_error(number, (), f"is not valid JSON: {error}")

    async def predict(self, model_cache: ModelCache, request: Request, pixels: Any) -> bytes:
        """Return the response lines."""
        while self._rows:
            rows = list(self._rows.values())
            try:
                inputs = await asyncio.to_thread(self._loaded.model.rows, rows, pixels)
                predictions = await model_cache.predict(self._loaded, inputs, request.receive)
            except Overloaded:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except DeadlineExceeded as error:
                # The response has begun, so its status can no longer report this.
                for number in self._rows:
                    self._set_error(number, (), error.detail)
                break
            except Invalid as error:
                # Retry without the invalid row.
                index, *rest = error.loc
                assert isinstance(index, int)
                number = next(islice(self._rows, index, None))
                del self._rows[number]
                self._set_error(number, tuple(rest), error.msg)
                continue
            results = self._loaded.model.to_json(predictions)
            for number, prediction in zip(self._rows, results, strict=True):
                self._results[number] = prediction
            break
        return b"".join(orjson.dumps(result) + b"\n" for result in self._results)

    def _set_error(self, number: int, loc: Loc, message: str) -> None:
        error = {"line": self._before + number + 1, "loc": list(loc), "msg": message}
        self._results[number] = {"error": error}
