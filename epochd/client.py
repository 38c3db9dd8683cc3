"""The client, and its jobs, data sets and models."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TypeVar
from weakref import finalize

import httpx

from epochd import calls
from epochd.calls.call import Call, Steps
from epochd.connection import RETRY_SECONDS, Connection
from epochd.events import Following
from epochd.methods import maker, method, method_of, updater
from epochd.objects import DatasetState, JobState, ModelState
from epochd.progress import showing
from epochd.retries import Attempts
from epochd.schemas import DatasetInfo, Event, JobInfo, ModelInfo

T = TypeVar("T")


class Model(ModelState):
    """A version of a model. All its predictions are those of this version."""

    def __init__(self, client: "Client", info: ModelInfo) -> None:
        self._client = client
        self.info = info

    refresh = updater(calls.models.again)
    predict = method_of(calls.predictions.predict_with)
    evaluation = method_of(calls.models.evaluation)
    evaluate = method_of(calls.models.evaluate)
    aliases = method_of(calls.models.aliases)
    alias = method_of(calls.models.alias)
    set_alias = method_of(calls.models.set_alias)
    delete_alias = method_of(calls.models.delete_alias)
    load = method_of(calls.models.load)
    unload = method_of(calls.models.unload)
    delete = method_of(calls.models.delete)

    def _run(self, steps: Steps[T]) -> T:
        return self._client._run(steps)


class Dataset(DatasetState):
    """An uploaded data set. It can be the `dataset` of a job."""

    def __init__(self, client: "Client", info: DatasetInfo) -> None:
        self._client = client
        self.info = info

    refresh = updater(calls.datasets.get)
    preview = method_of(calls.datasets.preview)
    batches = method_of(calls.datasets.batches)
    delete = method_of(calls.datasets.delete)

    def _run(self, steps: Steps[T]) -> T:
        return self._client._run(steps)


class Job(JobState):
    """A training job."""

    def __init__(self, client: "Client", info: JobInfo) -> None:
        self._client = client
        self.info = info

    metrics = method_of(calls.jobs.metrics)
    logs = method_of(calls.jobs.logs)
    attempts = method_of(calls.jobs.attempts)
    charts = method_of(calls.jobs.charts)
    chart = method_of(calls.jobs.chart)
    refresh = updater(calls.jobs.get)
    change = updater(calls.jobs.change)
    cancel = updater(calls.jobs.cancel)
    pause = updater(calls.jobs.pause)
    resume = updater(calls.jobs.resume)
    retry = updater(calls.jobs.retry)
    delete = method_of(calls.jobs.delete)

    def events(self, after: int = 0, *, timeout: float | None = None) -> Iterator[Event]:
        """Yield the events of the job after event `after`, as they happen, until the job ends.

        A broken stream is taken up where it broke off.

        Raises:
            TimedOut: the job has not ended within `timeout` seconds.
        """
        return self._client._follow(self.id, after, timeout)

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> Self:
        """Wait until the job ends, with a progress bar in a terminal or notebook that has rich.

        A paused job ends only after it is resumed, or cancelled.

        Raises:
            JobFailed: it failed or was cancelled.
            TimedOut: it has not ended within `timeout` seconds; it goes on.
        """
        with showing(self.info, wanted=progress) as show:
            for event in self.events(timeout=timeout):
                show(event)
        return self.refresh()._ended()

    def model(self) -> Model:
        """Return the model that the job made."""
        return self._client.model(self._model())

    def _run(self, steps: Steps[T]) -> T:
        return self._client._run(steps)


def _jobs(client: "Client", infos: list[JobInfo]) -> list[Job]:
    return [Job(client, info) for info in infos]


class Client:
    """A client of an epochd service.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection.of(url, key, retry_seconds)
        self._http = httpx.Client(transport=transport, **self._connection.options())
        # A script may leave it to Python to close it.
        finalize(self, self._http.close)

    train = maker(calls.jobs.train, Job)
    job = maker(calls.jobs.get, Job)
    jobs = maker(calls.jobs.listed, _jobs)
    compare = method(calls.comparing.compare)

    upload = maker(calls.datasets.upload, Dataset)
    dataset = maker(calls.datasets.get, Dataset)
    datasets = method(calls.datasets.listed)

    predict = method(calls.predictions.predict)
    model = maker(calls.models.get, Model)
    models = method(calls.models.listed)
    versions = method(calls.models.versions)
    delete_model = method(calls.models.delete_all)
    describe = method(calls.models.describe)

    expressions = method(calls.service.expressions)

    me = method(calls.service.me)
    keys = method(calls.service.keys)
    key = method(calls.service.key)
    add_key = method(calls.service.add_key)
    rotate_key = method(calls.service.rotate_key)
    revoke_key = method(calls.service.revoke_key)
    add_class = method(calls.service.add_class)
    sessions = method(calls.service.sessions)
    end_session = method(calls.service.end_session)

    queue = method(calls.sharing.queue)
    devices = method(calls.sharing.devices)
    usage = method(calls.sharing.usage)
    audit = method(calls.service.audit)

    live = method(calls.service.live)
    ready = method(calls.service.ready)
    service_metrics = method(calls.service.service_metrics)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r})"

    def _run(self, steps: Steps[T]) -> T:
        """Send one call after another, and return what they lead to."""
        running = iter(steps)
        try:
            call = next(running)
            while True:
                try:
                    answer = self._send(call)
                except Exception as error:
                    call = running.throw(error)
                else:
                    call = running.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            running.close()

    def _send(self, call: Call[T]) -> T:
        attempts = Attempts(call, self._connection)
        while True:
            try:
                response = self._http.send(self._http.build_request(**attempts.request()))
            except httpx.RequestError as error:
                time.sleep(attempts.pause_after_failure(error))
                continue
            pause = attempts.pause_after(response)
            if pause is None:
                return self._connection.read(call, response)
            time.sleep(pause)

    def _follow(self, job_id: str, after: int, timeout: float | None) -> Iterator[Event]:
        following = Following(job_id, self._connection, after, timeout)
        while not following.is_over:
            request = self._http.build_request(**following.request())
            try:
                response = self._http.send(request, stream=True)
                try:
                    if not response.is_success:
                        response.read()
                    if (pause := following.open(response)) is None:
                        for chunk in response.iter_bytes():
                            yield from following.read(chunk)
                        pause = following.close()
                finally:
                    response.close()
            except httpx.RequestError as error:
                pause = following.fail(error)
            time.sleep(pause)
