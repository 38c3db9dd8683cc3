"""Predictions on newline-delimited JSON, in bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from ml.decoding import decoding
from ml.errors import Invalid, Loc
from ml.inference.model import Inputs, Model
from ml.inputs.json_slices import CHUNK_BYTES, check_row, parsed, skip_space
from ml.inputs.rows import PixelRange
from service.access.caller import caller_of
from service.errors import DeadlineExceeded, Overloaded
from service.http.body_limit import too_large
from service.predictions.model_cache import LoadedModel, ModelCache
from service.predictions.payloads import NDJSON
from service.predictions.query import parse_query
from service.predictions.unknown import UnknownValues
from service.settings import Settings
from service.work import Work
from service.work.executors import run_in

IN_MEMORY = 1024 * 1024
"""Bytes of a body above which it is spooled to a temporary file."""
CHUNK_LINES = 256
RETRY_SECONDS = 0.05
"""Delay before a retry when the queue of the model is full."""


class _Line(NamedTuple):
    number: int
    """Number of the line in the body, from 1."""
    text: bytes


async def predict_lines(
    request: Request, model_cache: ModelCache, settings: Settings, work: Work
) -> Response:
    """Return a response with one line per row of the request: a prediction or an `error`. Blank
    lines are no rows.

    The response begins after the last line of the request, since most clients write the whole
    request before they read and would otherwise deadlock.

    Raises:
        TooLarge: the body exceeds the limit.
    """
    query = parse_query(request.scope)
    longest = settings.max_body_bytes
    loaded = await model_cache.find(query.model, caller_of(request.scope))
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
                await run_in(work.bulk, file.write, chunk)
        file.seek(0)
    except BaseException:
        file.close()
        raise

    chunks = (_Chunk(loaded, lines, longest, query.pixels) for lines in _chunks(file, longest))

    async def response_lines() -> AsyncIterator[bytes]:
        with file:
            while (chunk := await run_in(work.bulk, next, chunks, None)) is not None:
                yield await chunk.predict(model_cache, request)

    return StreamingResponse(response_lines(), media_type=NDJSON)


def _chunks(file: IO[bytes], longest: int) -> Iterator[Sequence[_Line]]:
    """Yield the lines that are not blank, in chunks of about `CHUNK_BYTES` or one longer line. A
    line over `longest` bytes is cut off there. After as many blank lines, a chunk is empty."""
    lines: list[_Line] = []
    size = 0
    for number in count(1):
        line = file.readline(longest + 1)
        if not line:
            break
        is_blank, rest = _is_blank(line), line
        while len(rest) > longest and not rest.endswith(b"\n"):
            rest = file.readline(longest + 1)
            is_blank = is_blank and _is_blank(rest)
        if not is_blank:
            lines.append(_Line(number, line))
        size += len(line)
        if len(lines) == CHUNK_LINES or size >= CHUNK_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _is_blank(text: bytes) -> bool:
    return skip_space(text, 0) == len(text)


class _Chunk:
    """Consecutive lines, whose valid rows form one prediction request."""

    def __init__(
        self,
        loaded: LoadedModel,
        lines: Sequence[_Line],
        longest: int,
        pixels: PixelRange | None,
    ) -> None:
        self._loaded = loaded
        self._lines = lines
        self._results: list[Any] = [None] * len(lines)
        rows: dict[int, object] = {}
        for number, line in enumerate(lines):
            try:
                rows[number] = _row(line.text, loaded.model, longest)
            except Invalid as error:
                self._set_error(number, error.loc, error.msg)
        self._rows = rows
        self._numbers = list(rows)
        """Positions of the valid rows."""
        self._inputs = self._converted(list(rows.values()), pixels) if rows else None

    async def predict(self, model_cache: ModelCache, request: Request) -> bytes:
        """Return the response lines."""
        numbers, inputs = self._numbers, self._inputs
        while numbers and inputs is not None:
            try:
                predictions, places = await model_cache.predict(
                    self._loaded, inputs, request.receive
                )
            except Overloaded:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except DeadlineExceeded as error:
                # The response has begun, so its status can no longer report this.
                for number in numbers:
                    self._set_error(number, (), error.detail)
                break
            except Invalid as error:
                # Retry without the row whose prediction is not finite.
                index, *rest = error.loc
                assert isinstance(index, int)
                self._set_error(numbers.pop(index), tuple(rest), error.msg)
                inputs = np.delete(inputs, index, axis=0)
                continue
            results = self._loaded.model.to_json(predictions)
            unknown = UnknownValues(
                self._loaded.model, places, lambda index: self._rows[numbers[index]]
            )
            unknown.add_to(results)
            for number, prediction in zip(numbers, results, strict=True):
                self._results[number] = prediction
            break
        return b"".join(orjson.dumps(result) + b"\n" for result in self._results)

    def _converted(self, rows: list[object], pixels: PixelRange | None) -> Inputs | None:
        """Convert all rows at once; if that fails, one by one, without the invalid ones."""
        try:
            with decoding("the rows"):
                return self._loaded.model.rows(rows, pixels)
        except Invalid:
            pass
        arrays: list[NDArray[Any]] = []
        for number, row in zip(list(self._numbers), rows, strict=True):
            try:
                with decoding("the row"):
                    arrays.append(self._loaded.model.rows([row], pixels))
            except Invalid as error:
                self._numbers.remove(number)
                self._set_error(number, error.loc[1:], error.msg)
        return np.concatenate(arrays) if arrays else None

    def _set_error(self, number: int, loc: Loc, message: str) -> None:
        error = {"line": self._lines[number].number, "loc": list(loc), "msg": message}
        self._results[number] = {"error": error}


def _row(line: bytes, model: Model, longest: int) -> object:
    if len(line) > longest:
        raise Invalid(f"has more than {longest:,} bytes")
    if len(line) > CHUNK_BYTES:
        check_row(line, model.row_size)
    with decoding("the line"):
        return parsed(line)
