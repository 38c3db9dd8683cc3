"""Places where a test may have this process killed or hung, to see that nothing is lost there."""

import os
import signal
from pathlib import Path

VARIABLE = "EPOCHD_FAULT"


def reach(place: str) -> None:
    """Do nothing, unless EPOCHD_FAULT is `kill@PLACE@FILE` or `hang@PLACE@FILE` for this place and
    FILE does not exist: then make it and do that, so that each fault strikes once."""
    deed, _, rest = os.environ.get(VARIABLE, "").partition("@")
    wanted, _, marker = rest.partition("@")
    if wanted != place:
        return
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    if deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while deed == "hang":
        pass
