"""Twenty backups of a service at work, each restored and verified, and the last one served."""

import os
import time
from pathlib import Path

import pytest

from tests.system.test_backup import back_up_under_load

BACKUPS = int(os.environ.get("SOAK_BACKUPS", 20))


@pytest.mark.soak
def test_twenty_backups_under_load(tmp_path: Path) -> None:
    start = time.monotonic()
    load = back_up_under_load(tmp_path, BACKUPS)
    print(f"\n{BACKUPS} backups in {time.monotonic() - start:.0f} s, during {dict(load.done)}")
