"""Run parts in sequence within a time budget, and save their results."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.goals import verdicts
from benchmarks.gpu.plan import Part

SHORTEST = 10.0
"""Minimum remaining time, in seconds, to start a part; importing torch takes half of it."""
TAIL_LINES = 40
"""Lines of output saved as the error of a part that died without reporting one."""


@dataclass(frozen=True)
class Settings:
    """Settings of a run."""

    device: str
    quick: bool
    deadline: float
    """Value of `time.monotonic` at which the budget is spent."""
    json: Path
    path: list[Path] = field(default_factory=list)
    """Additional module search path of the parts."""


def run(plan: Sequence[Part], settings: Settings) -> bool:
    """Run the parts, print a summary, and return whether none failed."""
    record: dict[str, Any] = {
        "machine": None,
        "device": settings.device,
        "quick": settings.quick,
        "parts": {part.name: {"status": "not run", "error": "not reached"} for part in plan},
    }
    started = time.monotonic()
    for part in plan:
        limit = min(part.limit, settings.deadline - time.monotonic())
        if limit < SHORTEST:
            record["parts"][part.name]["error"] = "no time left"
            continue
        print(f"== {part.name}: {part.title} (at most {limit:.0f} s)", flush=True)
        outcome = run_part(part, limit, settings)
        record["machine"] = record["machine"] or outcome.pop("machine", None)
        record["parts"][part.name] = outcome
        record["seconds"] = time.monotonic() - started
        write(settings.json, record)
        print(f"   {outcome['status']} in {outcome['seconds']:.1f} s", flush=True)
    results = {name: part.get("results", {}) for name, part in record["parts"].items()}
    record["goals"] = verdicts(results)
    record["seconds"] = time.monotonic() - started
    write(settings.json, record)
    print(summary(record))
    return all(part["status"] != "failed" for part in record["parts"].values())


def run_part(part: Part, limit: float, settings: Settings) -> dict[str, Any]:
    """Run a part for at most `limit` seconds; return its status, its error if any, its results and
    its duration in seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-part-") as directory:
        out = Path(directory) / "results.json"
        command = [sys.executable, "-m", "benchmarks.gpu.part", part.measure, "--out", str(out)]
        command += ["--device", settings.device, "--limit", str(limit)]
        command += ["--quick"] if settings.quick else []
        with _process(command, settings.path) as (process, tail):
            with suppress(subprocess.TimeoutExpired):
                process.wait(limit)
            code = process.poll()
        found = json.loads(out.read_text()) if out.exists() else {}
    outcome = {"status": "failed", "results": {}} | found
    if code is None:
        outcome |= {"status": "failed", "error": f"stopped at its time limit of {limit:.0f} s"}
    elif "status" not in found:
        outcome["error"] = "\n".join([f"died with exit code {code}", *tail])
    return outcome | {"seconds": time.monotonic() - started, "limit": limit}


@contextmanager
def _process(
    command: list[str], path: list[Path]
) -> Iterator[tuple["subprocess.Popen[str]", "deque[str]"]]:
    """Start a process and forward its output; stop it and its process group at the end."""
    known = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*map(str, path), *known]),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def forward() -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                tail.append(line.rstrip())
                print(f"   {line}", end="", flush=True)

    reader = threading.Thread(target=forward, daemon=True)
    reader.start()
    try:
        yield process, tail
    finally:
        # The group outlives its leader while other processes in it run, such as a service.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(3)
        reader.join(5)


def write(path: Path, record: dict[str, Any]) -> None:
    """Atomically replace the file by `record`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(record, indent=2))
    partial.replace(path)


def summary(record: dict[str, Any]) -> str:
    """Return the statuses of the parts and the goals as tables."""
    lines = [f"\n{'part':12}{'status':10}{'seconds':>8}"]
    for name, part in record["parts"].items():
        error = (part.get("error") or "").strip().splitlines()[-1:]
        lines.append(
            f"{name:12}{part['status']:10}{part.get('seconds', 0):8.1f}  {''.join(error)[:120]}"
        )
    lines.append(f"\n{'goal':54}{'bound':>8}{'measured':>12}  verdict")
    for goal in record["goals"]:
        measured = "" if goal["measured"] is None else f"{goal['measured']:,.3f}"
        bound = f"≥ {goal['at_least']:g}" if "at_least" in goal else f"≤ {goal['at_most']:g}"
        lines.append(f"{goal['goal']:54}{bound:>8}{measured:>12}  {goal['verdict']}")
    if record["quick"]:
        lines.append("This was a quick run; the goals do not apply to its small sizes.")
    lines.append(f"\n{record['seconds']:.0f} s in total")
    return "\n".join(lines)
