"""How many texts of a column suit a candidate for its spelling."""

from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from ml.spelling.candidates import Candidate
from ml.spelling.numbers import Notation


@dataclass
class Count:
    """The number of texts that suit a candidate, from batch number `since` on."""

    candidate: Candidate
    since: int
    hits: int = 0
    seen: int = 0
    odd: tuple[int, str] | None = None
    """Row and text of the first one that does not suit it."""

    def add(self, texts: Any, first_row: int) -> None:
        """Count the texts of an array."""
        suits = self.candidate.matches(texts)
        seen, hits = len(texts) - texts.null_count, pc.sum(suits).as_py() or 0
        if hits < seen and self.odd is None:
            index = pc.index(suits, False).as_py()
            self.odd = first_row + index, texts[index].as_py()
        self.seen += seen
        self.hits += hits

    @property
    def notation(self) -> Notation | None:
        """The notation of a candidate for numbers."""
        spelling = self.candidate.spelling
        return spelling.notation if spelling.kind == "numeric" else None
