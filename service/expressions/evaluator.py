"""Evaluation of tensor expressions in a small thread pool."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ml.errors import Invalid
from ml.expressions import run
from service.errors import Overloaded, Unprocessable
from service.expressions.schemas import ExpressionRequest, ExpressionResponse

THREADS = 2
MAX_WAITING = 100


class ExpressionEvaluator:
    """Evaluates at most `THREADS` requests at a time, which bounds their total time and memory.
    Bound to one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="expressions")
        self._waiting = 0

    async def evaluate(self, request: ExpressionRequest) -> bytes:
        """Return an `ExpressionResponse` as JSON.

        Raises:
            Unprocessable: an expression or a variable is invalid or too large.
            Overloaded: too many requests are waiting.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} requests are waiting already; retry in a second")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, _evaluate, request
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Cancel waiting requests and let running ones finish."""
        self._threads.shutdown(cancel_futures=True)


def _evaluate(request: ExpressionRequest) -> bytes:
    sources = request.expressions or [request.expression or ""]
    try:
        results = run(
            sources, request.variables, request.gradients, request.zero_grad, request.seed
        )
    except Invalid as error:
        raise Unprocessable.at(Invalid(error.msg), "body", *request.place(error.loc)) from None
    return ExpressionResponse(results=results).model_dump_json().encode()
