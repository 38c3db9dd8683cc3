"""The GPU script's measurement of a job through the service, run on a CPU."""

import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import served
from benchmarks.gpu.session import Session
from tests.conftest import REPOSITORY
from tests.system.server import Server


def test_served_job_is_measured(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "serving", lambda data_dir: nullcontext(server))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    session = Session(torch.device("cpu"), True, tmp_path / "out.json", time.monotonic() + 900)
    served.measure(session)
    assert len(session.results["first_step_s"]) == 1
    for figures in (session.results["epochs_served_s"], session.results["epochs_scripted_s"]):
        assert len(figures) == 2
        assert min(figures) > 0
    assert session.results["ratio"] > 0
