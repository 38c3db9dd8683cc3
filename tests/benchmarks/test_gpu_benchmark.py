"""The GPU script, with its parts run on a CPU in small sizes.

The part that starts a service is tested with the service: `tests/system/test_served_benchmark.py`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import checks, runner
from benchmarks.gpu import part as process
from benchmarks.gpu.goals import GOALS
from benchmarks.gpu.plan import PLAN, Part
from tests.conftest import REPOSITORY


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run parts in this process, which has imported torch, and collect the tests only once."""

    def run_part(part: Part, limit: float, settings: runner.Settings) -> dict[str, Any]:
        out = tmp_path / "part.json"
        command = [part.measure, "--out", str(out), "--device", settings.device, "--quick"]
        monkeypatch.setattr(sys, "argv", ["part", *command, "--limit", str(limit)])
        process.main()
        return json.loads(out.read_text()) | {"seconds": 0.0, "limit": limit}

    @cache
    def everything() -> tuple[list[str], list[str]]:
        return collect(checks.marked(checks.TESTS))

    def of_files(files: Sequence[Path]) -> tuple[list[str], list[str]]:
        tests, broken = everything()
        return [test for test in tests if REPOSITORY / test.partition("::")[0] in files], broken

    collect = checks.collect
    monkeypatch.setattr(checks, "collect", of_files)
    monkeypatch.setattr(runner, "run_part", run_part)
    # The profile sets these for its process.
    for name in ("TEARDOWN_CUPTI", "DISABLE_CUPTI_LAZY_REINIT"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("in_this_process")
def test_every_part_runs_or_reports_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [part for part in PLAN if part.name != "service"]
    settings = runner.Settings("cpu", True, time.monotonic() + 480, tmp_path / "gpu.json")
    assert runner.run(plan, settings)
    record = json.loads((tmp_path / "gpu.json").read_text())
    parts = record["parts"]
    assert list(parts) == [part.name for part in plan]
    for name, part in parts.items():
        if name in ("tests", "more tests"):
            assert part["status"] == "left out"
            assert "need a GPU" in part["error"]
            assert not part["results"]["broken_files"]
            assert len(part["results"]["waiting"]) > 10
        else:
            assert part["status"] == "ran", part
            assert part["results"]
    measured = {goal["goal"] for goal in record["goals"] if goal["measured"] is not None}
    unmeasured = {goal.text for goal in GOALS} - measured
    # A GPU's memory, and the tests that need one.
    assert {goal.part for goal in GOALS if goal.text in unmeasured} == {
        "jobs",
        "tests",
        "more tests",
    }
    assert len(unmeasured) == 3
    assert "64 models as one, times one model" in capsys.readouterr().out


def script(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks.gpu", "--quick", *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_script_runs_only_selected_parts(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--only", "jobs", "--wheels", str(tmp_path)]
    ended = script(*options, "--json", str(file))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [(name, part)] = json.loads(file.read_text())["parts"].items()
    assert (name, part["status"]) == ("jobs", "ran")
    assert part["results"]["pause"]["waits_s"]


def test_parts_fail_without_the_requested_gpu(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    ended = script("--device", "cuda:63", "--only", "sweep", "--json", str(file))
    assert ended.returncode == 1
    [part] = json.loads(file.read_text())["parts"].values()
    assert part["status"] == "failed"
    assert "CUDA" in part["error"] or "NVIDIA" in part["error"]
