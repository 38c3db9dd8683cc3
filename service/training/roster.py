"""The trainers of the pool and their devices, recorded by the scheduler in a file that every web
process reads. What runs on them is in the jobs' rows."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.files import replace


@dataclass(frozen=True)
class Place:
    """A place in the pool."""

    number: int
    device: str
    trainer: str | None
    """Name of the trainer, as in the attempts that it runs; None while none has started."""


class Roster:
    """The file of the pool's places."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, places: Iterable[Place]) -> None:
        """Record all places."""
        document = json.dumps([asdict(place) for place in places])
        # A full disk stops no trainer, and has a finding of its own.
        with suppress(OSError):
            replace(self._file, document.encode())

    def read(self) -> list[Place]:
        """Return all places, as of the last start or end of a trainer."""
        try:
            return [Place(**place) for place in json.loads(self._file.read_text("utf-8"))]
        except (FileNotFoundError, ValueError, TypeError):
            return []
