"""The asynchronous client: the same calls, to be awaited."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, TypeVar

import httpx

from epochd import calls
from epochd.calls.call import Call, Steps
from epochd.connection import RETRY_SECONDS, Connection
from epochd.events import Following
from epochd.methods import async_maker, async_method, async_method_of, async_updater
from epochd.objects import DatasetState, JobState, ModelState
from epochd.progress import showing
from epochd.retries import Attempts
from epochd.schemas import DatasetInfo, Event, JobInfo, ModelInfo

T = TypeVar("T")


class AsyncModel(ModelState):
    """A version of a model. All its predictions are those of this version."""

    def __init__(self, client: "AsyncClient", info: ModelInfo) -> None:
        self._client = client
        self.info = info

    refresh = async_updater(calls.models.again)
    predict = async_method_of(calls.predictions.predict_with)
    evaluation = async_method_of(calls.models.evaluation)
    evaluate = async_method_of(calls.models.evaluate)
    aliases = async_method_of(calls.models.aliases)
    alias = async_method_of(calls.models.alias)
    set_alias = async_method_of(calls.models.set_alias)
    delete_alias = async_method_of(calls.models.delete_alias)
    load = async_method_of(calls.models.load)
    unload = async_method_of(calls.models.unload)
    delete = async_method_of(calls.models.delete)

    async def _run(self, steps: Steps[T]) -> T:
        return await self._client._run(steps)


class AsyncDataset(DatasetState):
    """An uploaded data set. It can be the `dataset` of a job."""

    def __init__(self, client: "AsyncClient", info: DatasetInfo) -> None:
        self._client = client
        self.info = info

    refresh = async_updater(calls.datasets.get)
    preview = async_method_of(calls.datasets.preview)
    batches = async_method_of(calls.datasets.batches)
    delete = async_method_of(calls.datasets.delete)

    async def _run(self, steps: Steps[T]) -> T:
        return await self._client._run(steps)


class AsyncJob(JobState):
    """A training job."""

    def __init__(self, client: "AsyncClient", info: JobInfo) -> None:
        self._client = client
        self.info = info

    metrics = async_method_of(calls.jobs.metrics)
    logs = async_method_of(calls.jobs.logs)
    attempts = async_method_of(calls.jobs.attempts)
    charts = async_method_of(calls.jobs.charts)
    chart = async_method_of(calls.jobs.chart)
    refresh = async_updater(calls.jobs.get)
    change = async_updater(calls.jobs.change)
    cancel = async_updater(calls.jobs.cancel)
    pause = async_updater(calls.jobs.pause)
    resume = async_updater(calls.jobs.resume)
    retry = async_updater(calls.jobs.retry)
    delete = async_method_of(calls.jobs.delete)

    def events(self, after: int = 0, *, timeout: float | None = None) -> AsyncIterator[Event]:
        """Yield the events of the job after event `after`, as they happen, until the job ends.

        A broken stream is taken up where it broke off.

        Raises:
            TimedOut: the job has not ended within `timeout` seconds.
        """
        return self._client._follow(self.id, after, timeout)

    async def wait(self, timeout: float | None = None, *, progress: bool = True) -> Self:
        """Wait until the job ends, with a progress bar in a terminal or notebook that has rich.

        A paused job ends only after it is resumed, or cancelled.

        Raises:
            JobFailed: it failed or was cancelled.
            TimedOut: it has not ended within `timeout` seconds; it goes on.
        """
        with showing(self.info, wanted=progress) as show:
            async for event in self.events(timeout=timeout):
                show(event)
        return (await self.refresh())._ended()

    async def model(self) -> AsyncModel:
        """Return the model that the job made."""
        return await self._client.model(self._model())

    async def _run(self, steps: Steps[T]) -> T:
        return await self._client._run(steps)


def _jobs(client: "AsyncClient", infos: list[JobInfo]) -> list[AsyncJob]:
    return [AsyncJob(client, info) for info in infos]


class AsyncClient:
    """A client of an epochd service for asynchronous programs.

    `url` is by default EPOCHD_URL, or else that of a service on this machine, and `key` is
    EPOCHD_KEY. Requests that are safe to repeat are repeated for `retry_seconds` while the service
    is busy or away. `transport` is one of httpx.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        retry_seconds: float = RETRY_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection.of(url, key, retry_seconds)
        self._http = httpx.AsyncClient(transport=transport, **self._connection.options())

    train = async_maker(calls.jobs.train, AsyncJob)
    job = async_maker(calls.jobs.get, AsyncJob)
    jobs = async_maker(calls.jobs.listed, _jobs)
    compare = async_method(calls.comparing.compare)

    upload = async_maker(calls.datasets.upload, AsyncDataset)
    dataset = async_maker(calls.datasets.get, AsyncDataset)
    datasets = async_method(calls.datasets.listed)

    predict = async_method(calls.predictions.predict)
    model = async_maker(calls.models.get, AsyncModel)
    models = async_method(calls.models.listed)
    versions = async_method(calls.models.versions)
    delete_model = async_method(calls.models.delete_all)
    describe = async_method(calls.models.describe)

    expressions = async_method(calls.service.expressions)

    me = async_method(calls.service.me)
    keys = async_method(calls.service.keys)
    key = async_method(calls.service.key)
    add_key = async_method(calls.service.add_key)
    rotate_key = async_method(calls.service.rotate_key)
    revoke_key = async_method(calls.service.revoke_key)
    add_class = async_method(calls.service.add_class)
    sessions = async_method(calls.service.sessions)
    end_session = async_method(calls.service.end_session)

    queue = async_method(calls.sharing.queue)
    devices = async_method(calls.sharing.devices)
    usage = async_method(calls.sharing.usage)
    audit = async_method(calls.service.audit)

    live = async_method(calls.service.live)
    ready = async_method(calls.service.ready)
    service_metrics = async_method(calls.service.service_metrics)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._connection.url!r})"

    async def _run(self, steps: Steps[T]) -> T:
        """Send one call after another, and return what they lead to."""
        running = iter(steps)
        try:
            call = next(running)
            while True:
                try:
                    answer = await self._send(call)
                except Exception as error:
                    call = running.throw(error)
                else:
                    call = running.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            running.close()

    async def _send(self, call: Call[T]) -> T:
        attempts = Attempts(call, self._connection)
        while True:
            try:
                response = await self._http.send(self._http.build_request(**attempts.request()))
            except httpx.RequestError as error:
                await asyncio.sleep(attempts.pause_after_failure(error))
                continue
            pause = attempts.pause_after(response)
            if pause is None:
                return self._connection.read(call, response)
            await asyncio.sleep(pause)

    async def _follow(self, job_id: str, after: int, timeout: float | None) -> AsyncIterator[Event]:
        following = Following(job_id, self._connection, after, timeout)
        while not following.is_over:
            request = self._http.build_request(**following.request())
            try:
                response = await self._http.send(request, stream=True)
                try:
                    if not response.is_success:
                        await response.aread()
                    if (pause := following.open(response)) is None:
                        async for chunk in response.aiter_bytes():
                            for event in following.read(chunk):
                                yield event
                        pause = following.close()
                finally:
                    await response.aclose()
            except httpx.RequestError as error:
                pause = following.fail(error)
            await asyncio.sleep(pause)
