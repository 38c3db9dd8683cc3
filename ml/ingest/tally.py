"""Statistics of a column, from its values batch by batch."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    Boolean,
    Categorical,
    Category,
    Column,
    Date,
    Numeric,
    Text,
)
from ml.spelling import PLAIN, ColumnKind, Spelling, text_of
from ml.spelling.dates import DAY, written


@dataclass
class Tally:
    """Running statistics of a column."""

    name: str
    spelling: Spelling
    rows: int = 0
    missing: int = 0
    true: int = 0
    counts: Counter[object] | None = field(default_factory=Counter)
    """Number of rows by value; None once there are too many values, or one is too long."""
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared differences from the mean."""
    whole: bool = True
    has_times: bool = False
    """Whether any instant is not a midnight."""
    characters: int = 0
    """Number of characters of all values in `counts`, if they are texts."""
    written: dict[float, str] = field(default_factory=dict)
    """First text of each number in `counts`, if they came as texts."""

    @property
    def kind(self) -> ColumnKind:
        """The kind of the column, unless it has too many values to be categorical."""
        return self.spelling.kind

    def add(self, values: Any) -> None:
        """Add the values of a batch."""
        self.rows += len(values)
        self.missing += values.null_count
        known = values.drop_null()
        if not len(known):
            return
        if self.kind == "boolean":
            self.true += pc.sum(known).as_py()
            return
        if self.kind == "date":
            known = known.cast(pa.int64())
            self._see_instants(known)
        self._count(known)
        if self.kind == "numeric":
            self._measure(known)

    def _count(self, known: Any) -> None:
        if self.counts is None:
            return
        is_text = pa.types.is_string(known.type)
        found = pc.value_counts(known)
        if len(found) > MAX_CATEGORIES or (
            is_text and pc.max(pc.utf8_length(known)).as_py() > MAX_CATEGORY
        ):
            self._stop_counting()
            return
        self.counts.update({v["values"]: v["counts"] for v in found.to_pylist()})
        if len(self.counts) > MAX_CATEGORIES:
            self._stop_counting()
        elif is_text:
            self.characters = sum(len(str(value)) for value in self.counts)

    def _stop_counting(self) -> None:
        self.counts, self.characters, self.written = None, 0, {}

    def _measure(self, known: Any) -> None:
        before, count = self.rows - self.missing - len(known), len(known)
        mean = pc.mean(known).as_py()
        squares = pc.variance(known).as_py() * count
        # Chan, Golub and LeVeque 1979: combined moments of two samples.
        distance, total = mean - self.mean, before + count
        self.squares += squares + distance * distance * before * count / total
        self.mean += distance * count / total
        extremes = pc.min_max(known).as_py()
        self.low = min(self.low, extremes["min"])
        self.high = max(self.high, extremes["max"])
        self.whole = self.whole and bool(pc.all(pc.equal(known, pc.floor(known))).as_py())

    def _see_instants(self, known: Any) -> None:
        extremes = pc.min_max(known).as_py()
        self.low, self.high = min(self.low, extremes["min"]), max(self.high, extremes["max"])
        midnights = pc.multiply(pc.divide(known, DAY), DAY)
        self.has_times = self.has_times or pc.any(pc.not_equal(known, midnights)).as_py()

    def column(self) -> Column:
        """Return the description of the column."""
        if self.kind == "boolean":
            return Boolean(name=self.name, missing=self.missing, true=self.true)
        if self.kind == "numeric":
            return self._numeric()
        if self.kind == "date":
            return self._date()
        if self.counts is None or self.kind == "text":
            return Text(name=self.name, missing=self.missing)
        counts = sorted((str(value), count) for value, count in self.counts.items())
        categories = [Category(value=value, count=count) for value, count in counts]
        return Categorical(name=self.name, missing=self.missing, categories=categories)

    def _date(self) -> Date:
        is_known = self.rows > self.missing
        first, last = (int(self.low), int(self.high)) if is_known else (0, 0)
        return Date(
            name=self.name,
            missing=self.missing,
            distinct=None if self.counts is None else len(self.counts),
            format=self.spelling.date,
            has_times=self.has_times,
            min=written(first, self.has_times) if is_known else None,
            max=written(last, self.has_times) if is_known else None,
        )

    def _numeric(self) -> Numeric:
        known = self.rows - self.missing
        variance = self.squares / known if known else math.nan
        return Numeric(
            name=self.name,
            missing=self.missing,
            distinct=None if self.counts is None else len(self.counts),
            whole=self.whole,
            min=self.low if known else None,
            max=self.high if known else None,
            mean=self.mean if known else None,
            std=math.sqrt(variance) if known else None,
            notation=None if self.spelling.notation == PLAIN else self.spelling.notation,
            written={
                text_of(number): text
                for number, text in sorted(self.written.items())
                if text != text_of(number)
            },
        )
