"""Fault injection: places where a test can kill or hang this process."""

import os
import signal
from pathlib import Path

VARIABLE = "EPOCHD_FAULT"


def reach(place: str) -> None:
    """Kill or hang this process if EPOCHD_FAULT contains `kill@PLACE@FILE` or `hang@PLACE@FILE` for
    this place and FILE does not exist; otherwise do nothing.

    FILE is created first, so each fault strikes once. Multiple faults are separated by `;`."""
    for fault in os.environ.get(VARIABLE, "").split(";"):
        deed, _, rest = fault.partition("@")
        wanted, _, marker = rest.partition("@")
        if wanted == place and _is_first(Path(marker)):
            _strike(deed)


def _is_first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _strike(deed: str) -> None:
    if deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while deed == "hang":
        signal.pause()
