"""Answers of the process that reads uploads."""

from pathlib import Path

import pytest

from tests.ml.ingest.reader_process import answer_of

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
    assert answer_of(FAILING.format(error=error), tmp_path) == answer
