"""The GPU script: its budget, its verdicts and its handling of failed parts. No GPU is needed."""

import json
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks.gpu import checks, runner
from benchmarks.gpu.goals import GOALS, verdicts
from benchmarks.gpu.jobs import in_hand
from benchmarks.gpu.plan import PLAN, Part
from benchmarks.gpu.profiling import Kernel, busy, kernels, summarise
from benchmarks.gpu.session import Failed, Session
from benchmarks.gpu.wheels import installed
from tests.conftest import REPOSITORY

PARTS = """
import os, subprocess, sys, time
from benchmarks.gpu.session import LeftOut

def good(session):
    session.record("size", session.pick(100, 1))

def failing(session):
    session.record("before", 1)
    raise ValueError("it broke here")

def dying(session):
    session.record("before", 1)
    print("the device said no", flush=True)
    os._exit(7)

def unable(session):
    raise LeftOut("there is no compiler")

def endless(session):
    session.record("before", 1)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    session.record("child", child.pid)
    time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path: Path) -> runner.Settings:
    (tmp_path / "some_parts.py").write_text(PARTS)
    return runner.Settings(
        "cpu", True, time.monotonic() + 900, tmp_path / "gpu.json", [REPOSITORY, tmp_path]
    )


def part(name: str, limit: float = 300) -> Part:
    return Part(name, name, f"some_parts:{name}", limit)


def test_failed_part_is_reported_and_later_parts_run(
    settings: runner.Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = [part(name) for name in ("failing", "dying", "unable", "good")]
    assert not runner.run(plan, settings)
    record = json.loads(settings.json.read_text())
    failing, dying, unable, good = record["parts"].values()
    assert failing["status"] == dying["status"] == "failed"
    assert failing["error"].endswith("ValueError: it broke here\n")
    assert failing["results"] == dying["results"] == {"before": 1}
    assert dying["error"] == "died with exit code 7\nthe device said no"
    assert (unable["status"], unable["error"]) == ("left out", "there is no compiler")
    assert (good["status"], good["results"]) == ("ran", {"size": 1})
    assert record["machine"]["torch"] == torch.__version__
    output = capfd.readouterr().out
    assert "ValueError: it broke here" in output
    assert "times as fast as the tutorial's script" in output


def test_skipped_part_is_not_a_failure(settings: runner.Settings) -> None:
    assert runner.run([part("unable")], settings)


def test_part_over_its_limit_is_killed_with_its_children(settings: runner.Settings) -> None:
    # On a busy machine the part may take more than 5 s to start.
    for limit in 5, 60, 300:
        outcome = runner.run_part(part("endless"), float(limit), settings)
        assert outcome["status"] == "failed"
        assert outcome["error"] == f"stopped at its time limit of {limit} s"
        assert outcome["seconds"] < limit + 60
        if "child" in outcome["results"]:
            break
    assert outcome["results"]["before"] == 1
    state = Path(f"/proc/{outcome['results']['child']}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_parts_are_skipped_when_time_runs_out(
    settings: runner.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def run_part(part: Part, limit: float, settings: runner.Settings) -> dict[str, Any]:
        limits.append(limit)
        clock[0] += limit
        return {"status": "ran", "seconds": limit, "results": {}, "machine": {}}

    clock = [settings.deadline - 60]
    monkeypatch.setattr(runner, "run_part", run_part)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    plan = [part("first", 35), part("second", 35), part("third", 35)]
    assert runner.run(plan, settings)
    assert limits == [35, 25]
    third = json.loads(settings.json.read_text())["parts"]["third"]
    assert third == {"status": "not run", "error": "no time left"}


def test_every_goal_belongs_to_a_part_and_gets_a_verdict() -> None:
    assert {goal.part for goal in GOALS} <= {part.name for part in PLAN}
    results = {
        "steps": {"times_the_script": 120.0, "64": {"captured float32": {"us": 61.0}}},
        "tests": {"failed": 0},
    }
    judged = {goal["goal"]: goal["verdict"] for goal in verdicts(results)}
    assert judged["times as fast as the tutorial's script, captured"] == "met"
    assert judged["µs a step, batch 64, float32"] == "missed"
    assert judged["µs a step, batch 64, tf32"] == "not run"
    assert judged["tests of the engines that failed"] == "met"


def test_profile_is_averaged_per_step() -> None:
    ran = [
        Kernel("gemm", 0.0, 4.0),
        Kernel("gemm", 10.0, 14.0),
        Kernel("void multi_tensor_apply_kernel<FusedAdam>", 14.0, 17.0),
        # On another stream, overlapping the previous kernel.
        Kernel("copy", 15.0, 19.0),
    ]
    assert busy(ran) == 13.0
    found = summarise(ran, steps=2)
    assert (found["kernels"], found["us"], found["us_idle"]) == (2.0, 9.5, 3.0)
    assert (found["us_optimizer"], found["optimizer_kernels"]) == (1.5, 0.5)
    assert found["top"][0] == {"name": "gemm", "us": 4.0, "kernels": 1.0}
    with pytest.raises(RuntimeError, match="recorded no work"):
        summarise([], steps=2)


def event(name: str, device: DeviceType, is_user_annotation: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        device_type=device,
        is_user_annotation=is_user_annotation,
        cpu_parent=None,
        time_range=SimpleNamespace(start=1.0, end=3.0),
    )


def test_only_kernels_and_copies_count_as_work() -> None:
    events = [
        event("gemm", DeviceType.CUDA),
        event("Memcpy HtoD", DeviceType.CUDA),
        event("Context Sync", DeviceType.CUDA),
        event("Stream Wait Event", DeviceType.CUDA),
        event("Optimizer.step#Adam.step", DeviceType.CUDA, is_user_annotation=True),
        event("cudaGraphLaunch", DeviceType.CPU),
    ]
    profiler = SimpleNamespace(events=lambda: events)
    found = kernels(profiler, torch.device("cuda"))
    assert found == [Kernel("gemm", 1.0, 3.0), Kernel("Memcpy HtoD", 1.0, 3.0)]


TESTS = """
import os, time
import pytest

pytestmark = pytest.mark.gpu

def test_good(): pass
def test_bad(): assert 1 == 2
def test_skipped(): pytest.skip("there is no second GPU")
def test_dying(): os._exit(9)
def test_endless(): time.sleep(60)
"""


def test_each_test_runs_in_its_own_process(tmp_path: Path) -> None:
    file = tmp_path / "test_things.py"
    file.write_text(TESTS)
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name\npytest.mark.gpu")
    (tmp_path / "test_other.py").write_text("def test_other(): pass")
    files = checks.marked(tmp_path)
    assert [path.name for path in files] == ["test_broken.py", "test_things.py"]
    tests, broken = checks.collect(files)
    assert [test.partition("::")[2] for test in tests] == [
        "test_good",
        "test_bad",
        "test_skipped",
        "test_dying",
        "test_endless",
    ]
    assert len(broken) == 1
    assert "test_broken.py" in broken[0]
    at = str(file) + "::"
    assert checks.run_one(at + "test_good", 300)["status"] == "passed"
    bad = checks.run_one(at + "test_bad", 300)
    assert bad["status"] == "failed"
    assert "assert 1 == 2" in bad["output"]
    skipped = checks.run_one(at + "test_skipped", 300)
    assert skipped["status"] == "skipped"
    assert "there is no second GPU" in skipped["output"]
    dying = checks.run_one(at + "test_dying", 300)
    assert (dying["status"], dying["exit"]) == ("failed", 9)
    endless = checks.run_one(at + "test_endless", 3)
    assert endless["status"] == "failed"
    assert "stopped at its time limit of 3 s" in endless["output"]


def test_failed_test_fails_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "REPOSITORY", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu")
    file = tmp_path / "test_things.py"
    file.write_text(TESTS.partition("def test_dying")[0])
    session = Session(torch.device("cuda"), False, tmp_path / "out.json", time.monotonic() + 900)
    with pytest.raises(Failed, match="1 of 3 tests failed"):
        checks.measure(session, [file])
    found = json.loads((tmp_path / "out.json").read_text())["results"]
    assert found["failed"] == 1
    assert sorted(outcome["status"] for outcome in found["outcomes"].values()) == [
        "failed",
        "passed",
        "skipped",
    ]


def test_tests_do_not_start_without_enough_time(tmp_path: Path) -> None:
    session = Session(torch.device("cpu"), True, tmp_path / "out.json", time.monotonic() + 6)
    assert checks.run(["a.py::test_a"], session) == {"a.py::test_a": {"status": "not run"}}


def test_wheels_are_installed_outside_the_environment(tmp_path: Path) -> None:
    with installed(tmp_path) as nothing:
        assert nothing == []
    with zipfile.ZipFile(tmp_path / "carried_along-1.0-py3-none-any.whl", "w") as wheel:
        information = "carried_along-1.0.dist-info"
        wheel.writestr("carried_along.py", "WORTH = 3\n")
        wheel.writestr(
            f"{information}/METADATA", "Metadata-Version: 2.1\nName: carried-along\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{information}/RECORD", "carried_along.py,,\n")
    with installed(tmp_path) as [site]:
        assert (site / "carried_along.py").read_text() == "WORTH = 3\n"
    assert not site.exists()
    assert str(site) not in sys.path


def test_broken_wheels_are_ignored(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken-1.0-py3-none-any.whl").write_bytes(b"no archive")
    with installed(tmp_path) as site:
        assert len(site) == 1
    assert "were not installed" in capfd.readouterr().out


def test_state_in_hand_is_a_copy() -> None:
    state = {"model": {"weight": torch.ones(2)}, "curves": [torch.zeros(1)], "epoch": 3}
    copy = in_hand(state)
    state["model"]["weight"].zero_()  # type: ignore[index]
    assert copy["model"]["weight"].tolist() == [1.0, 1.0]
    assert copy["epoch"] == 3
