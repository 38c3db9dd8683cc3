"""Quality of the models of tables: jobs of the service beside models of other libraries.

Trains each on the same 80 % of the rows of twelve real tables, and measures its error on the other
20 %: the root of the mean squared error, or the log loss. Its score on a table is the best peer's
error divided by its own, so that 1 is as good as the best of the peers. Needs the packages of the
`bench` extra.

    python -m benchmarks.quality                         # the shortest job, on all tables
    python -m benchmarks.quality ames OJ --job '{"model": "mlp"}' --json quality.json
    python -m benchmarks.quality --peers quality.json    # the peers' errors of an earlier run
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import httpx

from benchmarks.peers import PEERS, test_error
from benchmarks.real_tables import PART, TABLES, RealTable, chosen
from tests.system.server import ENDED, PATIENCE, serving

SHORTEST = "the shortest job"


class Result(NamedTuple):
    """Error and duration of a model on a table."""

    error: float
    seconds: float


Results = dict[str, dict[str, Result]]
"""Results by table and model."""


def timed(measure: Callable[[], float]) -> Result:
    began = time.monotonic()
    return Result(measure(), time.monotonic() - began)


def job_error(client: httpx.Client, table: RealTable, job: dict[str, Any]) -> float:
    """Upload a table, run a job on it, and return its error on the test rows."""
    content = table.frame.to_csv(index=False)
    path, headers = f"/datasets?name={table.name}", {"content-type": "text/csv"}
    upload = client.post(path, content=content, headers=headers).raise_for_status().json()
    dataset = {"kind": "upload", "id": upload["id"], "target": table.target, "split_by": PART}
    response = client.post("/jobs", json={"name": table.name, "dataset": dataset} | job)
    assert response.status_code == 202, response.text
    url = f"/jobs/{response.json()['id']}"
    while (state := client.get(url).raise_for_status().json())["status"] not in ENDED:
        time.sleep(0.2)
    assert state["status"] == "succeeded", state["error"]
    return float(state["metrics"]["test_loss" if table.is_classification else "test_rmse"])


def peer_error(table: RealTable, name: str) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return test_error(table, PEERS[name](table))


def scores(results: dict[str, Result]) -> dict[str, float]:
    """Return the score on a table of each model."""
    best = min(results[name].error for name in PEERS)
    return {name: best / result.error for name, result in results.items()}


def report(results: Results) -> None:
    """Print the mean score of each model, the worst, and the longest time."""
    by_table = {table: scores(of_table) for table, of_table in results.items()}
    print(f"\n{'':30} {'mean':>6} {'worst':>6} {'':12} {'longest':>8}")
    for name in next(iter(by_table.values())):
        worst = min(by_table, key=lambda table: by_table[table][name])
        mean = fmean(of_table[name] for of_table in by_table.values())
        longest = max(of_table[name].seconds for of_table in results.values())
        print(f"{name:30} {mean:6.3f} {by_table[worst][name]:6.3f} {worst:12} {longest:7.1f}s")


@contextmanager
def service(url: str | None) -> Iterator[httpx.Client]:
    """Yield a client of the service at `url`, or of one of its own."""
    if url is not None:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            yield client
        return
    with tempfile.TemporaryDirectory() as directory:
        settings = {"trainers": 1, "trainer_threads": 1}
        with serving(Path(directory) / "data", **settings) as server:
            yield server.client


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [table.name for table in TABLES]
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--job", type=json.loads, default={}, help="fields of the job, as JSON")
    parser.add_argument("--url", help="a running service; by default one is started")
    parser.add_argument("--peers", type=Path, help="results of an earlier run")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    if unknown := [name for name in options.tables if name not in names]:
        parser.error(f"no table {unknown[0]!r}; choose from {', '.join(names)}")
    earlier = json.loads(options.peers.read_text()) if options.peers else {}
    label = json.dumps(options.job) if options.job else SHORTEST
    results: Results = {}
    with service(options.url) as client:
        for table in chosen(options.tables):
            known = earlier.get(table.name, {})
            row = {
                name: Result(*known[name])
                if name in known
                else timed(lambda table=table, name=name: peer_error(table, name))
                for name in PEERS
            }
            row[label] = timed(lambda table=table: job_error(client, table, options.job))
            results[table.name] = row
            shown = ", ".join(f"{name} {score:.3f}" for name, score in scores(row).items())
            print(f"{table.name}: {shown}; {row[label].seconds:.1f} s", flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    report(results)


if __name__ == "__main__":
    main()
