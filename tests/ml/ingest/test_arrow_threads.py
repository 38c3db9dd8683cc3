import pyarrow as pa
import pytest

from ml.ingest.arrow_threads import needing_memory


def test_a_thread_that_does_not_start_is_a_lack_of_memory() -> None:
    words = "Unknown error: Failed to launch worker thread: Resource temporarily unavailable"
    with pytest.raises(MemoryError, match="launch worker thread"), needing_memory():
        raise pa.ArrowException(words)


def test_other_errors_pass() -> None:
    with pytest.raises(pa.ArrowInvalid, match="Expected 2 columns"), needing_memory():
        raise pa.ArrowInvalid("CSV parse error: Expected 2 columns, got 3")
