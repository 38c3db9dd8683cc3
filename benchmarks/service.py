"""Overhead of the service: training MNIST by jobs, compared with `fit` in a script.

    python -m benchmarks.service [--datasets DIR] [--rounds 5] [--json FILE]

Prints medians of: the epoch time of a job and of a script that run concurrently, on one core each,
since a core's speed varies from minute to minute; the time from the POST to the end of the first
step in a warm trainer; two concurrent jobs compared with two consecutive ones; the peak memory of
the processes. DIR is searched for MNIST's files first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from tests.system.server import Server, serving

SPEC: dict[str, Any] = {"dataset": {"kind": "mnist"}, "epochs": 3, "device": "auto"}
LONGER = SPEC | {"epochs": 6}
SCRIPT = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from ml import datasets, devices
from ml.specs import TrainingSpec
from ml.training.loop import train
from ml.training.initial_model import build
from ml.training.run import Run
spec = TrainingSpec.of(json.loads(sys.argv[1]))
data = datasets.load(spec.dataset, spec.split, Path(sys.argv[2]))
run = Run(build(spec, data), data, spec, devices.resolve(spec.device))
print(json.dumps([time.time() for report in train(run) if report.level == "epoch"]))
"""


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def epochs_by_script(datasets: Path) -> list[float]:
    """Return the seconds of each epoch but the first in a run without the service."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(LONGER), str(datasets)]
    return gaps(json.loads(subprocess.check_output(command)))


def epochs_by_job(server: Server) -> list[float]:
    """Return the seconds of each epoch but the first of a job."""
    job = server.run(LONGER)
    return gaps([moment(e["created_at"]) for e in server.events(job["id"]) if e["kind"] == "epoch"])


def first_step(server: Server) -> float:
    """Return the seconds from a POST to the end of the job's first step."""
    sent = time.time()
    job_id = server.submit(SPEC | {"report_every": 1})
    event = server.until(job_id, lambda event: event["kind"] == "step")
    server.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    server.wait(job_id)
    return moment(event["created_at"]) - sent


def two_jobs(server: Server) -> float:
    """Return the total seconds of two jobs submitted together."""
    start = time.perf_counter()
    for job_id in [server.submit(SPEC | {"seed": seed}) for seed in (1, 2)]:
        assert server.wait(job_id)["status"] == "succeeded"
    return time.perf_counter() - start


def peak_mb(pid: int) -> float:
    """Return the peak resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def repeated(rounds: int, *measures: Callable[[], Any]) -> list[list[Any]]:
    """Run the measures in turn, `rounds` times; return one list of results per measure."""
    measured = [[measure() for measure in measures] for _ in range(rounds)]
    return [list(column) for column in zip(*measured, strict=True)]


def at_once(*measures: Callable[[], Any]) -> list[Any]:
    """Run all measures concurrently."""
    with ThreadPoolExecutor() as pool:
        return [future.result() for future in [pool.submit(measure) for measure in measures]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", type=Path, default=Path("data/datasets"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    datasets = options.datasets.resolve()
    datasets.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {}

    def at(trainers: int, threads: int) -> Any:
        directory = Path(tempfile.mkdtemp(prefix="epochd-bench-"))
        (directory / "datasets").symlink_to(datasets)
        return serving(directory, trainers=trainers, trainer_threads=threads)

    with at(trainers=1, threads=1) as server:
        server.run(SPEC | {"epochs": 1})
        [pairs] = repeated(
            options.rounds,
            lambda: at_once(lambda: epochs_by_script(datasets), lambda: epochs_by_job(server)),
        )
        scripts, jobs = zip(*pairs, strict=True)
        alone, served = (statistics.median(chain.from_iterable(each)) for each in (scripts, jobs))
        # Ratios of concurrent runs: speed varies more between minutes than between the two.
        ratio = statistics.median(sum(job) / sum(script) for script, job in pairs)
        print(f"an epoch by fit {alone:.3f} s, as a job {served:.3f} s: ratio {ratio:.3f}")
        starts = sorted(first_step(server) for _ in range(4 * options.rounds))
        print(
            f"from the POST to the first step {1000 * statistics.median(starts):.0f} ms, "
            f"at worst {1000 * starts[-1]:.0f} ms"
        )
        trainer, web = peak_mb(server.trainers()[0]), peak_mb(server.process.pid)
        print(f"resident at most: trainer {trainer:.0f} MiB, web process {web:.0f} MiB")
        record |= {"fit": scripts, "job": jobs, "first_step": starts}
        record |= {"trainer_mib": trainer, "web_mib": web}
    with at(1, 1) as one, at(1, 2) as one_wide, at(2, 1) as two:
        columns = repeated(
            options.rounds,
            *(lambda server=server: two_jobs(server) for server in (one, one_wide, two)),
        )
    after_1, after_2, together = map(statistics.median, columns)
    print(
        f"two jobs one after the other {after_1:.1f} s with one thread, {after_2:.1f} s with two; "
        f"at once {together:.1f} s: {min(after_1, after_2) / together:.2f}x the jobs per hour"
    )
    record |= dict(zip(("after_1", "after_2", "together"), columns, strict=True))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
