"""Cost of a long queue: submitting, claiming and listing jobs with 100 and with 10,000 queued jobs.

The two databases are measured in turn, and listing also while another thread submits. Prints
medians and their ratios.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ml.specs import TrainingSpec
from service.jobs.attempts import AttemptStore
from service.jobs.schemas import JobOptions
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database

LENGTHS = (100, 10_000)
ROUNDS = 7
OPERATIONS = 100
SPEC = TrainingSpec.of(
    {
        "dataset": {
            "kind": "synthetic",
            "features": {"x": {"linspace": [0, 10]}},
            "target": "3*x + 2",
        }
    }
)


class Queue:
    """A database with `length` queued jobs."""

    def __init__(self, directory: Path, length: int) -> None:
        database = Database(f"sqlite:///{directory}/{length}.db")
        database.migrate()
        self.jobs = JobStore(database)
        self.attempts = AttemptStore(database, Settings())
        for _ in range(length):
            self.submit()

    def submit(self) -> None:
        self.jobs.submit(SPEC, JobOptions())

    def claim(self) -> None:
        assert self.attempts.claim("a trainer")

    def list_first_page(self) -> None:
        assert self.jobs.page("queued", None, 50, None).data

    def list_under_load(self) -> None:
        over = threading.Event()

        def keep_submitting() -> None:
            while not over.is_set():
                self.submit()
                self.claim()

        thread = threading.Thread(target=keep_submitting)
        thread.start()
        try:
            self.list_first_page()
        finally:
            over.set()
            thread.join()


def rate(operation: Callable[[], None], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        operation()
    return times / (time.perf_counter() - start)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        queues = {length: Queue(Path(directory), length) for length in LENGTHS}
        rates: dict[tuple[str, int], list[float]] = {}
        for _ in range(ROUNDS):
            for length, queue in queues.items():
                for name, operation, times in (
                    ("submit", queue.submit, OPERATIONS),
                    ("claim", queue.claim, OPERATIONS),
                    ("list", queue.list_first_page, 20),
                    ("list under load", queue.list_under_load, 20),
                ):
                    rates.setdefault((name, length), []).append(rate(operation, times))
    print(f"{'per second, with queued':24}" + "".join(f"{length:>10,}" for length in LENGTHS))
    for name in dict.fromkeys(name for name, _ in rates):
        short, long = (statistics.median(rates[name, length]) for length in LENGTHS)
        print(f"{name:24}{short:10,.0f}{long:10,.0f}   ratio {short / long:.2f}")


if __name__ == "__main__":
    main()
