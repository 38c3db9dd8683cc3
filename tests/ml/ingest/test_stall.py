import threading
from pathlib import Path

import pytest

from ml.ingest import stall
from tests.ml.ingest.reader_process import answer_of

STUCK = """
import contextlib, mmap, threading
from ml.ingest import __main__ as reader

def stop(*_):
    threading.Event().wait()

def fill_memory(*_):
    blocks = []
    with contextlib.suppress(OSError):
        while True:
            blocks.append(mmap.mmap(-1, 2**22))
    stop()

reader.stall.SECONDS = 1
reader.ingest = {ingest}
reader.main()
"""


def test_a_process_without_work_is_reported() -> None:
    reported = threading.Event()
    stall.watch(reported.set, seconds=1)
    assert reported.wait(timeout=600)


@pytest.mark.parametrize(("ingest", "answer"), [("stop", "stalled"), ("fill_memory", "memory")])
def test_a_stuck_reader_answers(tmp_path: Path, ingest: str, answer: str) -> None:
    assert answer_of(STUCK.format(ingest=ingest), tmp_path) == {answer: 1}
