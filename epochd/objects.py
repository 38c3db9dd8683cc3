"""Jobs, data sets and models as both clients share them: their state, without calls."""

from typing import Self

from epochd.errors import EpochdError
from epochd.schemas import DatasetInfo, JobInfo, ModelInfo, ModelRef


class JobFailed(EpochdError):
    """A job that was waited for failed, or was cancelled."""

    def __init__(self, job: JobInfo) -> None:
        self.job = job
        end = "failed" if job.status == "failed" else f"is {job.status}"
        reason = f" ({job.error.kind}): {job.error.message}" if job.error else ""
        super().__init__(f"job {job.id}, {job.name!r}, {end}{reason}")


class JobState:
    """A job, as it was when the service was last asked."""

    info: JobInfo

    @property
    def id(self) -> str:
        """Id, which stays the same."""
        return self.info.id

    @property
    def name(self) -> str:
        """Name, which is also that of its model."""
        return self.info.name

    @property
    def status(self) -> str:
        """`queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`, when the service was
        last asked."""
        return self.info.status

    @property
    def _key(self) -> str:
        return self.info.id

    def _becomes(self, info: JobInfo) -> Self:
        self.info = info
        return self

    def _ended(self) -> Self:
        """Return the job.

        Raises:
            JobFailed: it has not succeeded.
        """
        if self.info.status != "succeeded":
            raise JobFailed(self.info)
        return self

    def _model(self) -> str:
        """Return the reference of its model.

        Raises:
            EpochdError: it has none.
        """
        if self.info.model is None:
            raise EpochdError(f"job {self.id} has no model: it is {self.status}; wait for it first")
        return str(self.info.model)

    def __repr__(self) -> str:
        progress = self.info.progress
        epochs = f"epoch {progress.epoch} of {progress.epochs}"
        return f"<{type(self).__name__} {self.id} {self.name!r}: {self.status}, {epochs}>"


class DatasetState:
    """An uploaded data set. It can be the `dataset` of a job."""

    info: DatasetInfo

    @property
    def id(self) -> str:
        """Id, which stays the same."""
        return self.info.id

    @property
    def name(self) -> str:
        """Name."""
        return self.info.name

    @property
    def _key(self) -> str:
        return self.info.id

    def _becomes(self, info: DatasetInfo) -> Self:
        self.info = info
        return self

    def __repr__(self) -> str:
        rows = self.info.contents.get("rows")
        return f"<{type(self).__name__} {self.id} {self.name!r}: {rows} rows>"


class ModelState:
    """A version of a model."""

    info: ModelInfo

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.info.name

    @property
    def version(self) -> int:
        """Number of the version."""
        return self.info.version

    @property
    def _key(self) -> ModelRef:
        return self.info.ref

    def _becomes(self, info: ModelInfo) -> Self:
        self.info = info
        return self

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.info.metrics.items())
        return f"<{type(self).__name__} {self.info.ref}: {figures}>"
