"""Charts of jobs: collect their data, list them and render them."""

from typing import Any, Literal

from pydantic import Field

from ml.charts.kinds import Chart, ChartData, Point, charts_of
from ml.charts.render import PictureFormat
from ml.errors import Invalid
from ml.specs import TrainingSpec
from ml.strict import parse
from ml.training.summary import TrainingSummary
from service.charts.renderer import Renderer
from service.errors import NotFound, Unprocessable
from service.jobs.schemas import Job
from service.jobs.store import JobStore
from service.models.files import ModelFiles
from service.schemas import Body

MAX_POINTS = 2000
"""Maximum points of a curve; longer histories are sampled evenly."""


class ChartSummary(Body):
    """A chart of a job."""

    name: str = Field(description="Name in the path `/jobs/{id}/charts/{name}.svg`.")
    title: str
    description: str
    ready: bool = Field(description="Whether the chart can be drawn yet.")


class JobCharts:
    """Lists and draws the charts of jobs."""

    def __init__(self, jobs: JobStore, files: ModelFiles) -> None:
        self._jobs = jobs
        self._files = files
        self._renderer = Renderer()

    def listed(self, job_id: str) -> list[ChartSummary]:
        """Return the charts of a job, including those that are not ready yet.

        Raises:
            NotFound: there is no such job. This applies to all methods below.
            Damaged: the files of the job's model are damaged. This too.
        """
        job = self._jobs.fetch(job_id)
        chart_data = self._chart_data(job, _spec(job))
        return [
            ChartSummary(
                name=name,
                title=chart.title,
                description=chart.description,
                ready=chart.needs.are_met(chart_data),
            )
            for name, chart in charts_of(chart_data.signature).items()
        ]

    def specification(self, job_id: str, name: str) -> dict[str, Any]:
        """Return a chart as a Vega-Lite specification with inline data.

        Raises:
            NotFound: the job has no such chart, or the chart is not ready.
        """
        job = self._jobs.fetch(job_id)
        spec = _spec(job)
        charts = charts_of(spec.dataset.signature())
        if name not in charts:
            raise NotFound(f"job {job.id} has no chart {name!r}; choose one of {', '.join(charts)}")
        chart_data = self._chart_data(job, spec)
        if not charts[name].needs.are_met(chart_data):
            raise NotFound(_not_ready(job, spec, name, charts[name]))
        return charts[name].specification(chart_data)

    def picture(self, job_id: str, name: str, form: PictureFormat) -> bytes:
        """Return a chart as an image.

        Raises:
            NotFound: see `specification`.
            Overloaded, Unavailable: see `Renderer.draw`.
        """
        return self._renderer.draw(self.specification(job_id, name), form)

    def close(self) -> None:
        """Stop the renderer."""
        self._renderer.close()

    def _chart_data(self, job: Job, spec: TrainingSpec) -> ChartData:
        return ChartData(
            spec=spec,
            epochs=self._points(job, "epoch"),
            steps=self._points(job, "step"),
            summary=self._training_summary(job),
        )

    def _points(self, job: Job, level: Literal["epoch", "step"]) -> list[Point]:
        steps_per_epoch = (job.progress.steps or 1) / job.progress.epochs
        return [
            Point(record.step / steps_per_epoch, record.values)
            for record in self._jobs.metric_series(job.id, level, MAX_POINTS)
        ]

    def _training_summary(self, job: Job) -> TrainingSummary | None:
        if job.model is None:
            return None
        try:
            with self._files.reading(job.model.name, job.model.version) as files:
                return TrainingSummary.load(files.directory)
        except (NotFound, FileNotFoundError):
            return None


def _spec(job: Job) -> TrainingSpec:
    try:
        return parse(TrainingSpec, job.spec)
    except Invalid as error:
        message = f"the spec of job {job.id} is no longer valid: {error.with_place()}"
        raise Unprocessable(message) from None


def _not_ready(job: Job, spec: TrainingSpec, name: str, chart: Chart) -> str:
    if job.status == "succeeded":
        return (
            f"the chart {name!r} of job {job.id} needs data stored with its model; the model was "
            "deleted, was trained without a value to draw, or was made by a version of this "
            "service that stored no data for charts"
        )
    folds = spec.split.folds if job.status in ("queued", "running", "paused") else None
    first = f" and trains its {folds} folds first" if folds else ""
    return (
        f"the chart {name!r} of job {job.id} can be drawn {chart.needs.when}; "
        f"the job is {job.status}{first}"
    )
