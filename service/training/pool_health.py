"""Whether trainers start, recorded by the scheduler in a file that every web process reads."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.readiness import Finding

SLOW_SECONDS = 60.0
"""Seconds without a trainer after which the readiness probe says so."""
MAX_FAILURES = 3
"""Failed starts in a row after which it says so at once."""


class PoolHealth:
    """The file exists while no trainer is running."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._since = 0.0
        self._failures = 0

    def empty(self) -> None:
        """Record that no trainer is running: none was started yet, or the last one ended."""
        self._since, self._failures = time.time(), 0
        self._write("")

    def failed(self, reason: str) -> None:
        """Record that a trainer ended while starting, and no other is running."""
        self._failures += 1
        self._write(reason)

    def clear(self) -> None:
        """Record that a trainer is running, or that none is wanted."""
        self._failures = 0
        self._file.unlink(missing_ok=True)

    def findings(self) -> Iterator[Finding]:
        """Yield the warning for the readiness probe."""
        try:
            seen = json.loads(self._file.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return
        seconds = time.time() - seen["since"]
        if seen["failures"] < MAX_FAILURES and seconds < SLOW_SECONDS:
            return
        last = f"the last one ended: {seen['reason']}" if seen["reason"] else "one is starting"
        yield Finding(f"jobs stay queued: no trainer has started for {seconds:.0f} seconds; {last}")

    def _write(self, reason: str) -> None:
        document = {"since": self._since, "failures": self._failures, "reason": reason}
        partial = self._file.with_suffix(".partial")
        # A full disk stops no trainer, and has a finding of its own.
        with suppress(OSError):
            partial.write_text(json.dumps(document), "utf-8")
            partial.replace(self._file)
