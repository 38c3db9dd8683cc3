"""The script for a machine with a GPU, run whole on a CPU in small sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.goals import GOALS
from benchmarks.gpu.plan import PLAN
from tests.conftest import REPOSITORY


def test_every_part_runs_or_says_why_not(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick"]
    command += ["--json", str(tmp_path / "gpu.json"), "--wheels", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    parts = record["parts"]
    assert list(parts) == [part.name for part in PLAN]
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
    assert "64 models as one, times one model" in ended.stdout


def test_a_machine_without_its_gpu_fails_in_every_part_it_was_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cuda:63", "--quick"]
    command += ["--only", "sweep", "--json", str(tmp_path / "gpu.json")]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [part] = json.loads((tmp_path / "gpu.json").read_text())["parts"].values()
    assert part["status"] == "failed"
    assert "CUDA" in part["error"] or "NVIDIA" in part["error"]
