"""A trainer's end is told with its reason."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from service import memory
from service.jobs.attempts import Claim
from service.jobs.failures import trainer_died
from service.settings import Settings
from service.training.trainer_process import TrainerDied, TrainerProcess
from tests.conftest import REPOSITORY

DYING = """
import sys
if "service.training.trainer" in sys.orig_argv:
    print("a line", file=sys.stderr)
    sys.modules["service.training.attempt"] = None
"""
WAITING = """
import sys, types
if "service.training.trainer" in sys.orig_argv:
    import runpy
    def run(*_, **__):
        sys.stderr.write("no newline at the end")
        sys.stderr.flush()
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        sys.stdin.read()
    runpy.run_module = run
"""


def end_of(settings: Settings, oom: Path | None = None) -> TrainerDied:
    """Start a trainer, kill it during an attempt if it starts, and return its end."""

    async def run() -> None:
        trainer = await TrainerProcess.start(settings, "cpu", 1.0)
        attempt = asyncio.create_task(trainer.run(Claim("job_1", 1)))
        await asyncio.sleep(0)
        if oom is not None:
            oom.write_text("pgfault 5\noom_kill 4\n")
        os.kill(trainer.pid, signal.SIGKILL)
        await attempt

    with pytest.raises(TrainerDied) as death:
        asyncio.run(run())
    return death.value


@pytest.fixture
def _dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REPOSITORY)]))


@pytest.mark.usefixtures("_dying")
def test_a_trainer_that_ends_while_starting_says_why(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DYING)
    death = end_of(settings)
    assert str(death).startswith("exit code 1: ModuleNotFoundError: import of service.training.att")
    # All of it is in the service's own output too.
    written = capfd.readouterr().err
    assert "a line\n" in written
    assert "Traceback" in written


@pytest.mark.usefixtures("_dying")
def test_the_kernels_kills_are_told_from_others(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WAITING)
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 5\noom_kill 3\n")
    monkeypatch.setattr(memory, "VMSTAT", vmstat)
    death = end_of(settings)
    assert str(death) == "killed by SIGKILL: no newline at the end"
    assert not death.out_of_memory
    assert "was killed (signal 9)" in trainer_died(death.exit_code, death.out_of_memory).message
    death = end_of(settings, oom=vmstat)
    assert death.out_of_memory
    message = trainer_died(death.exit_code, death.out_of_memory).message
    assert message.startswith("the kernel killed the trainer process because memory ran out; use")
