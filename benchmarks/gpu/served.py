"""A job through the service: the time from the POST to its first step, and its epoch time compared
with `fit` in a script."""

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.session import LeftOut, Session

if TYPE_CHECKING:
    from tests.system.server import Server

NEEDED = ("fastapi", "sqlalchemy", "alembic", "uvicorn", "httptools", "typer", "httpx", "orjson")
NEEDED += ("altair", "pydantic_settings", "multipart", "prometheus_client", "ulid")
SERVE = "from service.cli import app; app()"
EPOCHS_BEFORE = 2
"""Warm-up epochs that are not compared."""
SCRIPT = """
import json, sys, time
from pathlib import Path
import torch
from ml import datasets
from ml.specs import TrainingSpec
from ml.training.loop import train
from ml.training.initial_model import build
from ml.training.run import Run
spec = TrainingSpec.of(json.loads(sys.argv[1]))
data = datasets.load(spec.dataset, spec.split, Path())
run = Run(build(spec, data), data, spec, torch.device(spec.device))
print(json.dumps([time.time() for report in train(run) if report.level == "epoch"]))
"""


def measure(session: Session) -> None:
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise LeftOut(f"{', '.join(missing)} missing")
    job = spec(session)
    with (
        tempfile.TemporaryDirectory(prefix="gpu-service-") as directory,
        serving(Path(directory)) as server,
    ):
        server.run(job | {"epochs": 1})
        print("  the service and its trainer are warm", flush=True)
        waits = [first_step(server, job) for _ in range(session.pick(8, 1))]
        session.record("first_step_s", waits)
        print(
            f"  from the POST to the first step {1000 * statistics.median(waits):.0f} ms, "
            f"at worst {1000 * max(waits):.0f} ms"
        )
        served = epochs_by_job(server, job)
        session.record("epochs_served_s", served)
    scripted = epochs_by_script(job)
    session.record("epochs_scripted_s", scripted)
    ratio = statistics.median(served) / statistics.median(scripted)
    session.record("ratio", ratio)
    print(
        f"  an epoch as a job {1000 * statistics.median(served):.1f} ms, by fit "
        f"{1000 * statistics.median(scripted):.1f} ms: {ratio:.3f} times"
    )


def spec(session: Session) -> dict[str, Any]:
    """Return a job of MNIST's size with synthetic data."""
    features = {f"x{number}": {"normal": [0, 1]} for number in range(16)}
    size = session.pick(75_000, 1000)
    return {
        "dataset": {"kind": "synthetic", "features": features, "target": "x0*x1", "size": size},
        "model": {"kind": "mlp", "hidden": [512, 256], "dropout": [0.2, 0.0]},
        "loss": "mse",
        "batch_size": 64,
        "epochs": session.pick(12, 4),
        "device": str(session.device),
    }


def first_step(server: "Server", job: dict[str, Any]) -> float:
    """Return the seconds from a POST to the metrics of the job's first step."""
    sent = time.time()
    job_id = server.submit(job | {"report_every": 1, "epochs": 1000})
    event = server.until(job_id, lambda event: event["kind"] == "step")
    server.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    server.wait(job_id)
    return moment(event) - sent


def epochs_by_job(server: "Server", job: dict[str, Any]) -> list[float]:
    """Return the seconds of each epoch of a job."""
    job_id = server.run(job)["id"]
    return gaps([moment(e) for e in server.events(job_id) if e["kind"] == "epoch"])


def epochs_by_script(job: dict[str, Any]) -> list[float]:
    """Return the seconds of each epoch in a run without the service."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(job)]
    return gaps(json.loads(subprocess.check_output(command)))


def gaps(ends: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(ends)][EPOCHS_BEFORE - 1 :]


def moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["created_at"]).timestamp()


def serving(data_dir: Path) -> AbstractContextManager["Server"]:
    """Run the service from this checkout, without installation, on a free port."""
    from tests.system import server

    return server.serving(data_dir, [sys.executable, "-c", SERVE, "serve"], trainers=1)
