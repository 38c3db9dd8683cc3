"""Dates and times as people write them, and the instants that they denote.

An instant is a number of microseconds since 1970-01-01 in UTC, of the proleptic Gregorian calendar
and of the years 1 to 9999. A date without a time of day is its midnight, and a time without a zone
is one in UTC. Columns and single values are read by the same patterns.
"""

from collections.abc import Callable
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
    found = pc.extract_regex(texts, pattern=f"^(?:{form.pattern})$")
    count, known = len(texts), found.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        return pa.nulls(count, TYPE)

    def part(name: str) -> Any:
        return pc.fill_null(pc.struct_field(found, name), "")

    def numbers(name: str, otherwise: int = 0) -> Instants:
        if name not in form.regex.groupindex:
            return np.full(count, otherwise, np.int64)
        return _integers(part(name), otherwise)

    year, day = numbers("year"), numbers("day", 1)
    month = _month_numbers(part("month")) if "Mon" in form.name else numbers("month", 1)
    if form.has_short_years:
        year = year + np.where(year < CENTURY_BREAK, 2000, 1900)
    months = (year - 1970) * 12 + month - 1
    starts = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    ends = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    known = known & (year >= 1) & (month >= 1) & (month <= 12)
    known &= (day >= 1) & (day <= ends - starts)
    microseconds = (starts + day - 1) * DAY
    if "hour" in form.regex.groupindex and pc.any(pc.not_equal(part("hour"), "")).as_py():
        has_halves = "half" in form.regex.groupindex
        time, is_time = _times(numbers, part, has_halves)
        microseconds += time
        known &= is_time
    known &= (microseconds >= FIRST) & (microseconds <= LAST)
    return pa.array(microseconds, mask=~known).cast(TYPE)


def _times(
    numbers: Callable[[str], Instants], part: Callable[[str], Any], has_halves: bool
) -> tuple[Instants, NDArray[np.bool_]]:
    """Return the microseconds since midnight in UTC of each row, and which are times of day."""
    hour, minute, second = numbers("hour"), numbers("minute"), numbers("second")
    zone_hour, zone_minute = numbers("zone_hour"), numbers("zone_minute")
    is_time = (zone_hour <= 23) & (np.maximum.reduce([minute, second, zone_minute]) <= 59)
    most: Instants | int = 23
    if has_halves:
        half = pc.utf8_lower(part("half"))
        is_half = pc.not_equal(half, "").to_numpy(zero_copy_only=False)
        is_afternoon = pc.equal(half, "p").to_numpy(zero_copy_only=False)
        most = np.where(is_half, 12, 23)
        is_time &= hour <= most
        hour = np.where(is_half, hour % 12 + 12 * is_afternoon, hour)
    else:
        is_time &= hour <= most
    is_negative = pc.equal(part("sign"), "-").to_numpy(zero_copy_only=False)
    offset = (zone_hour * 60 + zone_minute) * np.where(is_negative, -1, 1)
    fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(part("fraction"), 6, "0"), 0, 6)
    seconds = (hour * 60 + minute - offset) * 60 + second
    return seconds * 1_000_000 + _integers(fraction, 0), is_time


def instants_of_numbers(numbers: Any, unit: int) -> Any:
    """Return the instants of a column of numbers, or of their texts, as `instants` does."""
    floats = pc.fill_null(pc.cast(numbers, pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    microseconds = floats * unit
    with np.errstate(invalid="ignore"):
        known = (microseconds >= FIRST) & (microseconds <= LAST)
    whole = np.rint(np.where(known, microseconds, 0.0)).astype(np.int64)
    return pa.array(whole, mask=~known).cast(TYPE)


def _integers(texts: Any, otherwise: int) -> Instants:
    """Return digits as numbers, `otherwise` for an empty text."""
    written = pc.if_else(pc.equal(texts, ""), str(otherwise), texts)
    numbers: Instants = pc.cast(written, pa.int64()).to_numpy(zero_copy_only=False)
    return numbers


def _month_numbers(names: Any) -> Instants:
    """Return the numbers of months from their names, 0 for any other text."""
    places = pc.index_in(pc.ascii_lower(names), value_set=pa.array(list(MONTHS)))
    numbers = pc.take(pa.array(list(MONTHS.values()), pa.int64()), places)
    found: Instants = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    return found


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
