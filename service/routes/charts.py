"""Routes for the charts of a job."""

from collections.abc import Callable
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Path, Response

from service.charts.job_charts import ChartSummary, JobCharts
from service.errors import FilesDamaged, NotFound, Overloaded
from service.http.problem_json import problems
from service.http.security_headers import SVG_POLICY
from service.routes.dependencies import AppComponents
from service.routes.parameters import JobId
from service.schemas import Page
from service.work.executors import run_in

router = APIRouter(prefix="/jobs", tags=["jobs"])

Form = Literal["json", "svg", "png"]

ChartName = Annotated[str, Path(description="Name of the chart, as the list of charts has it.")]
FormName = Annotated[Form, Path(description="Form of the chart.")]

MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
}
DRAWN: dict[Form, Callable[[JobCharts, str, str], bytes]] = {
    "json": lambda charts, job_id, name: orjson.dumps(charts.specification(job_id, name)),
    "svg": lambda charts, job_id, name: charts.picture(job_id, name, "svg"),
    "png": lambda charts, job_id, name: charts.picture(job_id, name, "png"),
}


@router.get("/{job_id}/charts", responses=problems(NotFound, FilesDamaged))
def list_charts(job_id: JobId, components: AppComponents) -> Page[ChartSummary]:
    """List the charts of a job, including those that are not ready yet."""
    return Page(data=components.charts.listed(job_id), next=None)


@router.get(
    "/{job_id}/charts/{chart}.{form}",
    response_class=Response,
    responses=problems(NotFound, Overloaded, FilesDamaged)
    | {
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "image/svg+xml": {"schema": {"type": "string"}},
                "image/png": {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def get_chart(
    job_id: JobId, chart: ChartName, form: FormName, components: AppComponents
) -> Response:
    """Return a chart as a Vega-Lite specification with inline data (`json`), or rendered from it
    (`svg`, `png`).

    While the job runs, history charts show the progress so far; the other charts are available
    after the job has succeeded.
    """
    headers = {"Content-Security-Policy": SVG_POLICY} if form == "svg" else None
    drawn = await run_in(components.work.bulk, DRAWN[form], components.charts, job_id, chart)
    return Response(drawn, headers=headers, media_type=MEDIA_TYPES[form])
