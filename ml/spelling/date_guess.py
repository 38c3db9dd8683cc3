"""Inference of the format in which a column writes its dates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from ml.errors import Invalid
from ml.spelling.date_formats import FORMATS, MONTH, DateFormat, DateStyle
from ml.spelling.dates import instant, instants, written

MOSTLY = 0.9
"""Share of dates from which the other values of a column are errors, not categories."""
FEW_ROWS = 20
"""Number of known values below which `MOSTLY` is not applied."""
SAMPLE = 20
"""Number of different values that decide which formats are tried."""
MAX_SHOWN = 40


@dataclass
class _Tried:
    """A format that the values seen so far may be written in."""

    form: DateFormat
    matches: int = 0
    odd: tuple[int, str] | None = None
    """Row and text of the first value that is no date of this format."""
    are_seasons: bool = True
    """Whether every year is followed by the next one: 2011-12 is then a season, not a month."""

    def see(self, texts: Any, first_row: int) -> None:
        found = instants(texts, self.form)
        self.matches += len(found) - found.null_count
        if self.odd is None:
            is_odd = pc.and_(pc.is_valid(texts), pc.is_null(found))
            if (index := pc.index(is_odd, True).as_py()) >= 0:
                self.odd = first_row + index, texts[index].as_py()
        if self.form is MONTH and self.are_seasons:
            next_year = pc.add(pc.year(found), 1)
            century = pc.multiply(pc.divide(next_year, 100), 100)
            follows = pc.equal(pc.subtract(next_year, century), pc.month(found))
            self.are_seasons = pc.all(pc.fill_null(follows, True), min_count=0).as_py()


@dataclass(frozen=True)
class DateReading:
    """The format that a column's dates are read in, and what speaks for another."""

    form: DateFormat
    example: str
    """A value of the column."""
    otherwise: DateFormat | None = None
    """The format with day and month exchanged, if every value is a date of that one too."""

    def day_first(self) -> "DateReading":
        """Return the reading with the day first, if that is possible."""
        if self.otherwise is None or self.form.style == "day_first":
            return self
        return DateReading(self.otherwise, self.example, self.form)


@dataclass
class DateGuess:
    """Running inference of a column's format; `style` limits it to that of the user.

    A format that is not inferred is tried only where the column `is_declared` to hold dates.
    """

    style: DateStyle | None = None
    is_declared: bool = False
    known: int = 0
    first: tuple[int, str] | None = None
    """Row and text of the first known value."""
    _tried: list[_Tried] | None = field(default=None, repr=False)

    def see(self, texts: Any, first_row: int, may_begin: bool = True) -> None:
        """Add the texts of a batch, null where missing, whose first one is in row `first_row`.
        Unless the first values `may_begin` a column of dates, none is looked for."""
        count = len(texts) - texts.null_count
        self.known += count
        if not count or self._tried == []:
            return
        if self._tried is None:
            known = texts.drop_null()
            self.first = first_row + pc.index(pc.is_valid(texts), True).as_py(), known[0].as_py()
            self._tried = [_Tried(form) for form in self._likely(known)] if may_begin else []
        for one in self._tried:
            one.see(texts, first_row)
        if any(one.odd is None for one in self._tried):
            self._tried = [one for one in self._tried if one.odd is None]

    def reading(self) -> DateReading | None:
        """Return how all known values are read; None if they are not dates of one format."""
        whole = [one.form for one in self._tried or [] if one.odd is None and self._counts(one)]
        if not whole or self.first is None:
            return None
        form = next((form for form in whole if "." in form.name), whole[0])
        exchanged = [other for other in whole if other.style != form.style]
        # No country writes the month first between full stops.
        if exchanged and "." not in form.name:
            form = next(form for form in whole if form.style == "month_first")
            exchanged = [other for other in whole if other.style == "day_first"]
            return DateReading(form, self.first[1], exchanged[0])
        return DateReading(form, self.first[1])

    def fault(self, name: str) -> str | None:
        """Return the message about the first value of the column `name` that is no date, if most of
        many values are; else None."""
        best = max(self._tried or [], key=lambda one: one.matches, default=None)
        if best is None or best.odd is None or self.known < FEW_ROWS:
            return None
        if best.matches < MOSTLY * self.known:
            return None
        return (
            f"{not_a_date(name, *best.odd, best.form)}, but {best.matches:,} of {self.known:,} "
            "values are; correct it, add it to `missing`, or add the column to `categorical`"
        )

    def declared(self, name: str) -> DateReading | None:
        """Return how the values of the column `name`, declared to be dates, are read; None if there
        is no value.

        Raises:
            Invalid: they are not all dates of one format; the message names the first that is not.
        """
        if self.first is None:
            return None
        if (found := self.reading()) is not None:
            return found
        best = max(self._tried or [], key=lambda one: one.matches, default=None)
        if best is not None and best.odd is not None:
            row, text = best.odd
            raise Invalid(not_a_date(name, row, text, best.form))
        row, text = self.first
        advice = ""
        if self.style is None and text.replace(".", "", 1).isdecimal():
            advice = (
                "; name the column in `epoch_seconds` or `epoch_milliseconds` if it counts them"
            )
        likes = "2024-12-31, 31.12.2024, 12/31/2024, 31-Dec-2024 or Dec 31, 2024"
        if self.style is not None:
            of_style = (form.example for form in FORMATS.values() if form.style == self.style)
            likes = " or ".join([*of_style][:3])
        raise Invalid(
            f"row {row}, column {name!r}: {shown(text)} is not a date; dates are written like "
            f"{likes}, with or without a time{advice}"
        )

    def _counts(self, one: _Tried) -> bool:
        return self.is_declared or one.form is not MONTH or not one.are_seasons

    def _likely(self, known: Any) -> Iterable[DateFormat]:
        """Return the formats that at least half of a sample is written in; of a declared column,
        any of it."""
        sample = known[: SAMPLE * SAMPLE].unique()[:SAMPLE].to_pylist()
        for form in FORMATS.values():
            if self.style not in (None, form.style) or not (self.is_declared or form.is_inferred):
                continue
            if form.unit is not None and self.style is None:
                continue
            count = sum(instant(text, form) is not None for text in sample)
            if count and (self.is_declared or 2 * count >= len(sample)):
                yield form


def is_day_first(guesses: Iterable[DateGuess]) -> bool:
    """Return whether the columns of a table whose dates have numbers of days and months in a clear
    order all have the day first."""
    readings = [found for guess in guesses if (found := guess.reading()) is not None]
    styles = {
        reading.form.style
        for reading in readings
        if reading.otherwise is None and "Mon" not in reading.form.name
    }
    return "day_first" in styles and "month_first" not in styles


def not_a_date(name: str, row: int, text: str, form: DateFormat) -> str:
    """Return the message about a value that is no date of the format of its column."""
    return f"row {row}, column {name!r}: {shown(text)} is not a date like {form}"


def ambiguity(name: str, reading: DateReading) -> str | None:
    """Return a sentence about how a column is read that may be read otherwise, else None."""
    if reading.otherwise is None:
        return None
    first = {"day_first": "day", "month_first": "month"}
    style, example = reading.otherwise.style, reading.example
    return (
        f"{name!r} may have the day or the month first, since neither is over 12 in any row; it is "
        f"read as {reading.form.name}, so {example} is {_iso(example, reading.form)}; if "
        f"the {first[style]} comes first, name the column in `{style}`"
    )


def short_years(name: str, reading: DateReading) -> str | None:
    """Return a sentence about how a column's years of two digits are read, None if it has none."""
    if not reading.form.has_short_years:
        return None
    return (
        f"{name!r} has years of two digits, which are read as 1969 to 2068: {reading.example} is "
        f"{_iso(reading.example, reading.form)}"
    )


def shown(text: str) -> str:
    """Return a value as shown in messages."""
    return repr(text) if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]!r}..."


def _iso(text: str, form: DateFormat) -> str:
    found = instant(text, form)
    assert found is not None, "the text is a date of this format"
    return written(found, with_time=False)
