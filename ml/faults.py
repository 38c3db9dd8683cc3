"""Places where a test may have this process killed or hung, to see that nothing is lost there."""

import os
import signal
from pathlib import Path

VARIABLE = "EPOCHD_FAULT"


def reach(place: str) -> None:
    """Do nothing, unless EPOCHD_FAULT has `kill@PLACE@FILE` or `hang@PLACE@FILE` for this place and
    FILE does not exist: then make it and do that, so that each fault strikes once. Several faults
    are separated by `;`."""
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
