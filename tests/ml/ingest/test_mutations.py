import json
import subprocess
import sys

import pytest

from tests.ml.ingest.mutations import UPLOADS


@pytest.mark.parametrize("name", [*UPLOADS, "pictures"])
def test_damaged_files_are_read_or_refused(name: str) -> None:
    count = 100
    command = [sys.executable, "-m", "tests.ml.ingest.mutations", name, str(count), "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found = json.loads(ended.stdout)
    assert found["read"] + found["refused"] == count, found
    assert min(found["read"], found["refused"]) > count // 50
