"""The tests marked `gpu`, each in its own process: a failed device-side assertion breaks CUDA for
the rest of the process."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.gpu.session import Failed, LeftOut, Session

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
CORE = TESTS / "ml" / "training" / "test_gpu.py"
LIMIT = 90.0
"""Time limit of one test, in seconds."""
SHORTEST = 8.0
"""Minimum remaining time, in seconds, to start a test."""
AT_ONCE = 6
"""Maximum number of concurrent tests; they contain no measurements to disturb."""
TAIL = 3000
# Warnings of other library versions and plugins installed on the machine are irrelevant here.
PYTEST = (sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-o", "filterwarnings=default")
ENVIRONMENT = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
OUTCOMES = {0: "passed", 1: "failed"}


def core(session: Session) -> None:
    """Run the tests of the engines."""
    measure(session, [CORE])


def others(session: Session) -> None:
    """Run all other tests."""
    measure(session, [file for file in marked(TESTS) if file != CORE])


def marked(directory: Path) -> list[Path]:
    """Return the files with tests marked `gpu`."""
    files = sorted(directory.rglob("test_*.py"))
    return [file for file in files if "pytest.mark.gpu" in file.read_text()]


def measure(session: Session, files: Sequence[Path]) -> None:
    """Run the marked tests in `files`."""
    if importlib.util.find_spec("pytest") is None:
        raise LeftOut("pytest missing")
    tests, broken = collect(files)
    session.record("broken_files", broken)
    if session.device.type != "cuda":
        session.record("waiting", tests)
        raise LeftOut(f"{len(tests)} tests need a GPU")
    outcomes = run(tests, session)
    counts = {
        status: sum(outcome["status"] == status for outcome in outcomes.values())
        for status in ("passed", "skipped", "failed", "not run")
    }
    session.record("failed", counts["failed"] + len(broken))
    print("  " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if session.results["failed"]:
        raise Failed(f"{session.results['failed']} of {len(tests)} tests failed")


def collect(files: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return the marked tests in `files`, and pytest's collection errors."""
    if not files:
        return [], []
    command = [*PYTEST, "--collect-only", "--continue-on-collection-errors", "-m", "gpu"]
    found = subprocess.run(
        [*command, *map(str, files)],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = found.stdout.splitlines()
    tests = [line for line in lines if re.match(r"\S+\.py::", line)]
    broken = [line for line in lines if line.startswith("ERROR")]
    if not tests and not broken and found.returncode not in (0, 5):
        broken = [(found.stdout + found.stderr)[-TAIL:]]
    return tests, broken


def run(tests: Sequence[str], session: Session) -> dict[str, dict[str, Any]]:
    """Run each test in its own process, several concurrently; return the outcome of each."""
    outcomes: dict[str, dict[str, Any]] = {}

    def one(test: str) -> None:
        limit = min(LIMIT, session.left() - 5)
        outcome = run_one(test, limit) if limit > SHORTEST else {"status": "not run"}
        outcomes[test] = outcome
        print(f"  {outcome['status']:8}{outcome.get('seconds', 0):6.1f} s  {test}", flush=True)
        session.record("outcomes", dict(outcomes))

    with ThreadPoolExecutor(min(AT_ONCE, max(1, (os.cpu_count() or 1) // 2))) as pool:
        list(pool.map(one, tests))
    return outcomes


def run_one(test: str, limit: float) -> dict[str, Any]:
    """Run one test; return its status, its duration, and the end of its output unless it passed."""
    started = time.monotonic()
    # A file, since a process left behind by the test would hold a pipe open.
    with tempfile.TemporaryFile("w+") as said:
        command = [*PYTEST, "-rs", "-p", "no:cacheprovider", "--tb=short", test]
        try:
            code = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=ENVIRONMENT,
                stdout=said,
                stderr=said,
                timeout=limit,
                check=False,
            ).returncode
            status = OUTCOMES.get(code, "failed")
        except subprocess.TimeoutExpired:
            code, status = None, "failed"
            said.write(f"\nstopped at its time limit of {limit:.0f} s")
        said.seek(0)
        output = said.read()
    if status == "passed" and not re.search(r"\d+ passed", output):
        status = "skipped"
    outcome = {"status": status, "seconds": time.monotonic() - started}
    return outcome if status == "passed" else outcome | {"exit": code, "output": output[-TAIL:]}
