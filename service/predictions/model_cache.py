"""Cache of loaded models, and predictions with them."""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from starlette.types import Receive

from ml.errors import Invalid
from ml.inference.model import Inputs, Model, Predictions
from ml.inputs.table_rows import Places
from service.access.caller import Caller
from service.errors import ClientGone, DeadlineExceeded, Problem
from service.metrics import Metrics
from service.models.files import ModelFiles
from service.models.name_index import NameIndex, ResolvedModel
from service.predictions.batching import Batcher, Pace
from service.schemas import ModelRef
from service.settings import MIB, Settings

WARM_ROWS = 32
SHORTEST_SECONDS = 1e-6
SLOW_SECONDS = 0.02
"""Seconds per row above which a model is not warmed up with `WARM_ROWS` rows."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, with its request queue."""

    ref: ModelRef
    model: Model
    batcher: Batcher


class Answer(NamedTuple):
    """The predictions for a request, and where it has values that are no category of the model."""

    predictions: Predictions
    unknown: Places


class ModelCache:
    """Resolves model references and keeps the most recently used models in memory. Bound to one
    event loop."""

    def __init__(
        self, name_index: NameIndex, files: ModelFiles, settings: Settings, metrics: Metrics
    ) -> None:
        self.name_index = name_index
        self._files = files
        self._seen_version: bytes | None = None
        """Registry version for which the cache was last pruned."""
        self._max_bytes = settings.model_cache_mb * MIB
        self._max_waiting_rows = settings.max_waiting_rows
        self._seconds = settings.predict_seconds
        self._metrics = metrics
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self._executor = ThreadPoolExecutor(
            len(os.sched_getaffinity(0)),
            thread_name_prefix="inference",
            # PyTorch keeps this setting per thread.
            initializer=partial(torch.set_num_threads, 1),
        )

    async def find(self, reference: str, caller: Caller) -> LoadedModel:
        """Return the model that `reference` names, and load it if needed.

        Raises:
            Unprocessable, Forbidden, NotFound, Unloaded: see `NameIndex.resolve`.
            Damaged: the files of the version are damaged.
        """
        # Evict deleted and unloaded models, even if the reference does not resolve.
        await self.refresh()
        resolved = await self.name_index.resolve(reference, caller)
        loaded = self._get_loaded(resolved)
        if loaded is not None:
            return loaded
        # Concurrent requests share one load.
        loading = self._loading.get(resolved.directory)
        if loading is None:
            loading = asyncio.create_task(self._load(resolved.ref, resolved.directory))
            self._loading[resolved.directory] = loading
        # A disconnected client must not cancel the load for the others.
        return await asyncio.shield(loading)

    def get_loaded(self, reference: str, caller: Caller) -> LoadedModel | None:
        """Return the model that `reference` names, or None if that needs a lookup or a load, or is
        not for the caller."""
        resolved = self.name_index.get_resolved(reference, caller)
        return None if resolved is None else self._get_loaded(resolved)

    async def predict(
        self, loaded: LoadedModel, inputs: Inputs, receive: Receive, seconds: float | None = None
    ) -> Answer:
        """Return the model's answer to `inputs`, batched with those of other requests. `receive`
        belongs to a request whose body was read, and only reports a disconnect.

        Raises:
            Invalid: the prediction for a row is not finite; `loc` is the row.
            Overloaded: the queue of the model is full.
            DeadlineExceeded: the prediction took longer than `seconds`.
            ClientGone: the client disconnected.
        """
        seconds = min(seconds or self._seconds, self._seconds)
        try:
            future = loaded.batcher.submit(inputs, seconds)
            if loaded.batcher.is_quick():
                predictions = await future
            else:
                predictions = await _in_time(future, receive, seconds)
        except (Invalid, Problem):
            self._metrics.record_failure(loaded.ref)
            raise
        unknown = loaded.model.unknown(inputs)
        if len(unknown):
            self._metrics.record_unknown(loaded.ref, len(unknown))
        return Answer(predictions, unknown)

    async def refresh(self) -> None:
        """Read the registry if it has changed, and evict models that are no longer served."""
        await self.name_index.entries()
        self._follow()

    def close(self) -> None:
        """Stop running batches."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _get_loaded(self, resolved: ResolvedModel) -> LoadedModel | None:
        self._follow()
        loaded = self._loaded.get(resolved.directory)
        if loaded is not None:
            self._loaded.move_to_end(resolved.directory)
        return loaded

    async def _load(self, ref: ModelRef, directory: str) -> LoadedModel:
        try:
            model, pace = await asyncio.get_running_loop().run_in_executor(
                self._executor, _load_and_warm, self._files, ref
            )
        finally:
            del self._loading[directory]
        record = self._metrics.for_model(ref).record
        batcher = Batcher(model, self._executor, self._max_waiting_rows, pace, record)
        loaded = self._loaded[directory] = LoadedModel(ref, model, batcher)
        self._evict()
        return loaded

    def _follow(self) -> None:
        """Evict models that are no longer served, if the name index has changed."""
        if self.name_index.seen_version != self._seen_version:
            self._seen_version = self.name_index.seen_version
            self._evict()

    def _evict(self) -> None:
        """Drop models that are no longer served, and then the least recently used ones over the
        size limit. Requests in progress keep their model alive."""
        for directory in [d for d in self._loaded if not self.name_index.serves(d)]:
            del self._loaded[directory]
        while self._bytes() > self._max_bytes and len(self._loaded) > 1:
            gone, _ = self._loaded.popitem(last=False)
            logger.info("evicted the model in %s: the model cache is full", gone)
        self._metrics.record_loaded(len(self._loaded), self._bytes())

    def _bytes(self) -> int:
        return sum(loaded.model.nbytes for loaded in self._loaded.values())


async def _in_time(
    future: "asyncio.Future[Predictions]", receive: Receive, seconds: float
) -> Predictions:
    gone = asyncio.ensure_future(receive())
    try:
        either: set[asyncio.Future[Any]] = {future, gone}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if gone.done():
            raise ClientGone
        raise DeadlineExceeded(f"the prediction took longer than {seconds:g} seconds")
    finally:
        future.cancel()
        gone.cancel()


def _load_and_warm(files: ModelFiles, ref: ModelRef) -> tuple[Model, Pace]:
    model = files.load(ref.name, ref.version)
    shape = model.manifest.signature.inputs.shape

    def seconds(rows: int) -> float:
        inputs = np.zeros((rows, *shape), np.float32)
        model.predict(inputs)  # the first call includes one-time work
        start = time.thread_time()
        model.predict(inputs)
        return time.thread_time() - start

    one = max(seconds(1), SHORTEST_SECONDS)
    if one > SLOW_SECONDS:
        return model, Pace(0.0, one)
    row = max(0.0, seconds(WARM_ROWS) - one) / (WARM_ROWS - 1)
    return model, Pace(one, row)
