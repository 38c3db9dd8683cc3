"""20,000 damaged files of each format: every one is read or refused, within a gigabyte."""

import json
import os
import subprocess
import sys

import pytest

from tests.ml.ingest.mutations import IMAGES, UPLOADS

COUNT = int(os.environ.get("SOAK_MUTATIONS", 20_000))
SEED = os.environ.get("SOAK_SEED", "1")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", [*UPLOADS, *IMAGES])
def test_every_damaged_file_is_read_or_refused(name: str) -> None:
    command = [sys.executable, "-m", "tests.ml.ingest.mutations", name, str(COUNT), SEED]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found = json.loads(ended.stdout)
    print(found)
    assert found["read"] + found["refused"] + found.get("memory", 0) == COUNT
    assert found["slowest_seconds"] < 20
