"""Dates and times as people write them, and the instants that they denote.

An instant is a number of microseconds since 1970-01-01 in UTC, of the proleptic Gregorian calendar
and of the years 1 to 9999. A date without a time of day is its midnight, and a time without a zone
is one in UTC. Columns and single values are read by the same patterns.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml.spelling.date_formats import DateFormat

Instants = NDArray[np.int64]

DAY = 24 * 60 * 60 * 1_000_000
"""Microseconds of a day."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST = (date(1, 1, 1).toordinal() - EPOCH_DAY) * DAY
LAST = (date(9999, 12, 31).toordinal() - EPOCH_DAY + 1) * DAY - 1
TYPE = pa.timestamp("us", "UTC")
"""Type of instants in a stored table."""

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}
"""Microseconds of each unit of Arrow's timestamps; 0 for the one that is shorter."""

CENTURY_BREAK = 69
"""First year of two digits that is one of the 20th century, as in POSIX: 68 is 2068, 69 is 1969."""
MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
MONTHS = {
    text: number
    for number, name in enumerate(MONTH_NAMES, start=1)
    for text in (name, name[:3], *(["sept"] if name == "september" else []))
}

PM = 2
WORDS: Mapping[str, Callable[[str], int]] = {
    "month": lambda name: MONTHS.get(name, 0),
    "half": lambda letter: PM if letter == "p" else 1,
    "sign": lambda sign: int(sign == "-"),
}
"""Numbers of the parts that are no digits."""
ZERO = ord("0")


def instant(text: str, form: DateFormat) -> int | None:
    """Return the instant that `text`, without surrounding blanks, denotes; None if it is none."""
    if form.unit is not None:
        return instant_of_number(float(text), form.unit) if form.regex.fullmatch(text) else None
    found = form.regex.fullmatch(text)
    if found is None:
        return None
    groups = {name: value or "" for name, value in found.groupdict().items()}

    def number(name: str, otherwise: int = 0) -> int:
        return int(groups.get(name) or otherwise)

    written = groups.get("month", "1")
    month = int(written) if written.isdecimal() else MONTHS.get(written.lower(), 0)
    year = number("year")
    if len(groups["year"]) == 2:
        year += 2000 if year < CENTURY_BREAK else 1900
    try:
        days = date(year, month, number("day", 1)).toordinal() - EPOCH_DAY
    except ValueError:
        return None
    hour, half = number("hour"), groups.get("half", "").lower()
    minute, second, zone_minute = number("minute"), number("second"), number("zone_minute")
    if hour > (12 if half else 23) or number("zone_hour") > 23:
        return None
    if max(minute, second, zone_minute) > 59:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    offset = number("zone_hour") * 60 + zone_minute
    minutes = (days * 24 + hour) * 60 + minute - (-offset if groups.get("sign") == "-" else offset)
    fraction = int(groups.get("fraction", "").ljust(6, "0")[:6])
    found_instant = (minutes * 60 + second) * 1_000_000 + fraction
    return found_instant if FIRST <= found_instant <= LAST else None


def instant_of_number(number: float, unit: int) -> int | None:
    """Return the instant `number` units of `unit` microseconds after 1970-01-01, if it is one."""
    microseconds = float(number) * unit
    # A half is rounded to even, as by numpy. NaN fails the comparison.
    return round(microseconds) if FIRST <= microseconds <= LAST else None


def instants(texts: Any, form: DateFormat) -> Any:
    """Return the instants that a column's texts, without surrounding blanks, denote, as an array
    of `TYPE`: null for those that are null or denote none."""
    if form.unit is not None:
        is_number = pc.match_substring_regex(texts, f"^(?:{form.pattern})$")
        plain = pc.replace_substring_regex(texts, r"^\+", "")
        return instants_of_numbers(pc.if_else(is_number, plain, None), form.unit)
    written = _Written.of(texts, form)
    if written is None:
        return pa.nulls(len(texts), TYPE)
    year, month, day = (
        written.numbers("year"),
        written.numbers("month", 1),
        written.numbers("day", 1),
    )
    if form.has_short_years:
        year = year + np.where(year < CENTURY_BREAK, 2000, 1900)
    months = (year - 1970) * 12 + month - 1
    starts = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    ends = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    known = written.matches & (year >= 1) & (month >= 1) & (month <= 12)
    known &= (day >= 1) & (day <= ends - starts)
    microseconds = (starts + day - 1) * DAY
    if written.has("hour"):
        time, is_time = _times(written)
        microseconds += time
        known &= is_time
    known &= (microseconds >= FIRST) & (microseconds <= LAST)
    return pa.array(microseconds, mask=~known).cast(TYPE)


def _times(written: "_Written") -> tuple[Instants, NDArray[np.bool_]]:
    """Return the microseconds since midnight in UTC of each row, and which are times of day."""
    hour, minute, second = (written.numbers(name) for name in ("hour", "minute", "second"))
    zone_hour, zone_minute = written.numbers("zone_hour"), written.numbers("zone_minute")
    is_time = (zone_hour <= 23) & (np.maximum.reduce([minute, second, zone_minute]) <= 59)
    if written.has("half"):
        half = written.numbers("half")
        is_time &= hour <= np.where(half, 12, 23)
        hour = np.where(half, hour % 12 + np.where(half == PM, 12, 0), hour)
    else:
        is_time &= hour <= 23
    offset = zone_hour * 60 + zone_minute
    if written.has("sign"):
        offset = offset * np.where(written.numbers("sign"), -1, 1)
    seconds = (hour * 60 + minute - offset) * 60 + second
    return seconds * 1_000_000 + written.numbers("fraction"), is_time


class _Written:
    """The parts of dates as a column of texts writes them.

    The patterns treat all digits alike, so they are matched to the different shapes of the texts,
    which have a 0 for each digit; there are few. Digits are then taken from their places.
    """

    def __init__(self, texts: Any, shapes: list[re.Match[str] | None], indices: Instants) -> None:
        offsets, self._bytes = _buffers(texts)
        self._starts = offsets[:-1]
        self._shapes = shapes
        self._order = np.argsort(indices, kind="stable") if len(shapes) > 1 else np.arange(0)
        self._ends = np.bincount(indices, minlength=len(shapes)).cumsum().tolist()
        is_match = np.array([shape is not None for shape in shapes], np.bool_)
        self.matches: NDArray[np.bool_] = is_match[indices]
        self.matches &= texts.is_valid().to_numpy(zero_copy_only=False)

    @classmethod
    def of(cls, texts: Any, form: DateFormat) -> "_Written | None":
        """Return the parts of `texts`, None if none is written in the format `form`."""
        encoded = _shapes(texts)
        shapes = [form.regex.fullmatch(shape) for shape in encoded.dictionary.to_pylist()]
        if not any(shapes):
            return None
        return cls(texts, shapes, encoded.indices.to_numpy(zero_copy_only=False))

    def has(self, name: str) -> bool:
        """Return whether any text has a part."""
        return any(shape and shape.groupdict().get(name) for shape in self._shapes)

    def numbers(self, name: str, otherwise: int = 0) -> Instants:
        """Return a part of each text as a number, `otherwise` where it is left out."""
        found = np.full(len(self._starts), otherwise, np.int64)
        for shape, start, end in zip(self._shapes, [0, *self._ends], self._ends, strict=False):
            part = shape.groupdict().get(name) if shape else None
            if shape is None or not part:
                continue
            rows = self._order[start:end] if len(self._shapes) > 1 else slice(None)
            if part.isdecimal():
                digits = part[:6] if name == "fraction" else part
                found[rows] = self._digits(rows, shape.start(name), len(digits))
                if name == "fraction":
                    found[rows] *= 10 ** (6 - len(digits))
            else:
                found[rows] = WORDS[name](part.lower())
        return found

    def _digits(self, rows: Instants | slice, start: int, count: int) -> Instants:
        places = self._starts[rows] + start
        value = np.zeros(len(places), np.int64)
        for place in range(count):
            value *= 10
            value += self._bytes[places + place] - ZERO
        return value


def _shapes(texts: Any) -> Any:
    """Return texts with a 0 for each digit, dictionary-encoded."""
    offsets, written = _buffers(texts)
    is_digit = (written >= ZERO) & (written <= ZERO + 9)
    plain = np.where(is_digit, np.uint8(ZERO), written)
    buffers = pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(plain)
    return pa.StringArray.from_buffers(len(texts), *buffers).dictionary_encode()


def _buffers(texts: Any) -> tuple[Instants, NDArray[np.uint8]]:
    """Return where each text begins, and where the last one ends, in the bytes of all texts."""
    _, ends, written = texts.buffers()
    offsets = np.frombuffer(ends, np.int32)[texts.offset :][: len(texts) + 1].astype(np.int64)
    data = np.frombuffer(written, np.uint8) if written else np.zeros(0, np.uint8)
    return offsets - offsets[0], data[offsets[0] : offsets[-1]]


def instants_of_numbers(numbers: Any, unit: int) -> Any:
    """Return the instants of a column of numbers, or of their texts, as `instants` does."""
    floats = pc.fill_null(pc.cast(numbers, pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    microseconds = floats * unit
    with np.errstate(invalid="ignore"):
        known = (microseconds >= FIRST) & (microseconds <= LAST)
    whole = np.rint(np.where(known, microseconds, 0.0)).astype(np.int64)
    return pa.array(whole, mask=~known).cast(TYPE)


def from_timestamps(values: Any) -> Any:
    """Return a column of dates or timestamps of any unit, with or without a zone, as an array of
    `TYPE`: null for those that are null or outside the years 1 to 9999."""
    if pa.types.is_date32(values.type):
        days = values.cast(pa.int32()).cast(pa.int64())
        scaled, unit = days, DAY
    elif pa.types.is_date64(values.type):
        scaled, unit = values.cast(pa.int64()), 1_000
    else:
        # A zone only says how the instant is shown.
        scaled, unit = values.cast(pa.int64()), UNITS[values.type.unit]
    numbers = pc.fill_null(scaled, 0).to_numpy(zero_copy_only=False)
    if unit:
        known = (numbers >= -(-FIRST // unit)) & (numbers <= LAST // unit)
        microseconds = np.where(known, numbers, 0) * unit
    else:
        known, microseconds = np.ones(len(numbers), bool), numbers // 1_000
    known = known & scaled.is_valid().to_numpy(zero_copy_only=False)
    return pa.array(microseconds, mask=~known).cast(TYPE)


def written(microseconds: int, with_time: bool) -> str:
    """Return an instant in ISO 8601: `2024-12-31`, or with its time, `2024-12-31T23:59:59Z`."""
    moment = (EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None)
    return f"{moment.isoformat()}Z" if with_time else moment.date().isoformat()


def iso(microseconds: int) -> str:
    """Return an instant in ISO 8601, with its time unless that is midnight."""
    return written(microseconds, with_time=microseconds % DAY != 0)


def iso_texts(column: Any) -> Any:
    """Return a column of `TYPE` as texts in ISO 8601; see `iso`."""
    instants = column.cast(pa.int64()).to_pylist()
    return pa.array([None if one is None else iso(one) for one in instants], pa.string())


def days(microseconds: int) -> float:
    """Return an instant as days since 1970-01-01, equal to those of `days_of`."""
    return float(microseconds) / DAY


def iso_of_days(number: float) -> str:
    """Return the instant that is `number` days after 1970-01-01 in ISO 8601."""
    return iso(min(max(round(number * DAY), FIRST), LAST))


def days_of(column: Any) -> NDArray[np.float64]:
    """Return a column of `TYPE` as days since 1970-01-01, NaN where null."""
    numbers = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    is_known = column.is_valid().to_numpy(zero_copy_only=False)
    return np.where(is_known, numbers.astype(np.float64) / DAY, np.nan)
