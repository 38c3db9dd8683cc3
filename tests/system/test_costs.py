"""Crafted requests to a real service: the answer, what all others wait meanwhile, and memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import costs
from benchmarks.crafted_requests import CASES, MIB
from tests.slowness import longest_gap
from tests.system.server import PATIENCE, Server, serving

STATUSES: dict[str, int] = {
    "predict: 16 M integers in a row": 422,
    "predict: 10 M empty rows": 413,
    "predict: 1,000 lists deep": 422,
    "predict: a million unknown keys": 422,
    "predict: a row of a million unknown keys": 422,
    "predict: a row of 30 MiB of escapes": 422,
    "predict: an image of 30 MiB of escapes": 422,
    "predict: a name of 30 MiB": 422,
    "predict: a feature's name of 30 MiB": 422,
    "predict: 30 MiB of blanks": 400,
    "predict: 30 MiB of blanks in a row": 422,
    "predict: 8 packed bodies of 30 MiB": 413,
    "v2: 30 MiB of escapes": 400,
    "v2: a name of 30 MiB": 400,
    "v2: 30 MiB of blanks": 400,
    "v2: 400,000 inputs": 400,
    "v2: one long text among numbers": 400,
    "v2: 8 M empty texts": 413,
    "v2: 10 M numbers": 413,
    "ndjson: lines of 2 MiB of [],": 200,
    "ndjson: a line of 30 MiB of escapes": 200,
    "ndjson: a name of 30 MiB": 200,
    "ndjson: 30 MiB of blanks in a line": 200,
    "ndjson: lines 1,000 lists deep": 200,
    "jobs: a million unknown keys": 413,
    "jobs: 40,000 unknown keys": 422,
    "jobs: 40,000 bad features": 422,
    "jobs: 12,000 features": 422,
    "jobs: 12,000 bad columns": 422,
    "jobs: 4,000 bad columns": 422,
    "jobs: 1,000 lists deep": 422,
    "expressions: a million variables": 413,
    "evaluate: a million unknown keys": 413,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        Path(tmp_path_factory.mktemp("costs")), trainers=1, predict_seconds=PATIENCE
    ) as server:
        costs.train(server)
        yield server


@pytest.mark.parametrize("name", STATUSES)
def test_a_crafted_request(service: Server, name: str) -> None:
    requests = CASES[name]()
    cost = costs.measure(service, requests, pause=0.1)
    assert cost.statuses == [STATUSES[name]] * len(requests)
    assert cost.frozen < longest_gap()
    assert cost.peak <= 4 * cost.sent + 64 * MIB
