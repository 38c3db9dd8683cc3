"""The process that reads a file: what it answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FAILING = """
import errno
from ml.errors import Invalid
from ml.ingest import __main__ as reader

def fail(*_):
    raise {error}

reader.ingest = fail
reader.main()
"""


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        ("MemoryError", {"memory": 2**30}),
        # Of a directory that cannot be listed for lack of memory.
        ("OSError(errno.ENOMEM, 'Cannot allocate memory')", {"memory": 2**30}),
        ("OSError(errno.ENOSPC, 'No space left')", {"storage": "No space left"}),
        ("Invalid('has no rows')", {"invalid": "has no rows"}),
        ("OSError('truncated')", {"invalid": "the file cannot be read; check its format"}),
    ],
)
def test_failures_are_told_apart(tmp_path: Path, error: str, answer: dict[str, object]) -> None:
    task = {
        "source": "",
        "into": "",
        "errors": str(tmp_path / "errors"),
        "options": {},
        "max_memory_bytes": 2**30,
    }
    reader = subprocess.run(
        [sys.executable, "-c", FAILING.format(error=error)],
        input=json.dumps(task).encode(),
        capture_output=True,
        check=False,
    )
    assert json.loads(reader.stdout) == answer
