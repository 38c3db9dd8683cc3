"""Formats of dates, as regular expressions for columns and single values alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

DateStyle = Literal["day_first", "month_first", "year_first", "epoch_seconds", "epoch_milliseconds"]
"""How a user says that a column writes its dates: the order of day, month and year, or the unit of
numbers that count from 1970-01-01 in UTC."""

NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"

WEEKDAY = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,? +)?"
ZONE = r"(?: ?(?:[Zz]|UTC|GMT|(?P<sign>[+-])(?P<zone_hour>[0-9]{2}):?(?P<zone_minute>[0-9]{2})?))?"
FRACTION = r"(?:[.,](?P<fraction>[0-9]{1,9}))?"
CLOCK = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    rf"{FRACTION})?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
TIME = rf"(?:(?:[Tt:]|,? +){CLOCK}{ZONE})?"
COMPACT_TIME = (
    r"(?:[Tt ]?(?P<hour>[0-9]{2}):?(?P<minute>[0-9]{2})"
    rf"(?::?(?P<second>[0-9]{{2}}){FRACTION})?{ZONE})?"
)
TOKEN = re.compile("YYYY|YY|Mon|MM|DD|, | |.")
EXAMPLE = {"YYYY": "2024", "YY": "24", "Mon": "Dec", "MM": "12", "DD": "31"}


@dataclass(frozen=True)
class DateFormat:
    """A way of writing dates. `name` spells it with `YYYY`, `YY`, `MM`, `Mon` and `DD`.

    Leading zeros may be left out where something separates the numbers. A time of day, with or
    without fractions of a second, AM or PM and a zone, may follow a date with a day.
    """

    name: str
    is_inferred: bool = True
    """Whether a column is taken for dates of this format without being declared."""
    unit: int | None = None
    """Microseconds in 1, for a format of numbers that count from 1970-01-01."""

    @cached_property
    def style(self) -> DateStyle:
        """The style that this format belongs to."""
        if self.unit is not None:
            return "epoch_seconds" if self.unit == 1_000_000 else "epoch_milliseconds"
        first: dict[str, DateStyle] = {"D": "day_first", "M": "month_first", "Y": "year_first"}
        return first[self.name[0]]

    @cached_property
    def example(self) -> str:
        """The last day of 2024 in this format."""
        if self.unit is not None:
            return str(1_735_603_200_000_000 // self.unit)
        return TOKEN.sub(lambda token: EXAMPLE.get(token[0], token[0]), self.name)

    @cached_property
    def pattern(self) -> str:
        """Regular expression of a whole value, as both `re` and RE2 understand it."""
        if self.unit is not None:
            return NUMBER
        is_named, is_compact = "Mon" in self.name, self.name == "YYYYMMDD"
        # Unseparated numbers have all their digits. 1.2.10 is a version, 01.02.10 a date.
        is_padded = is_compact or ("YYYY" not in self.name and "/" not in self.name)
        digits = "[0-9]{2}" if is_padded and not is_named else "[0-9]{1,2}"
        tokens = {
            "YYYY": "(?P<year>[0-9]{4})",
            "YY": "(?P<year>[0-9]{2})",
            "Mon": r"(?P<month>[A-Za-z]{3,9})\.?",
            "MM": f"(?P<month>{digits})",
            "DD": f"(?P<day>{digits})" + ("(?:st|nd|rd|th)?" if is_named else ""),
            ", ": "(?:, *| +)",
            " ": " +",
        }
        spelt = TOKEN.sub(lambda token: tokens.get(token[0]) or re.escape(token[0]), self.name)
        time = (COMPACT_TIME if is_compact else TIME) if "DD" in self.name else ""
        return (WEEKDAY if is_named else "") + spelt + time

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)

    @property
    def has_short_years(self) -> bool:
        """Whether years are written with two digits."""
        return "YY" in self.name.replace("YYYY", "")

    def __str__(self) -> str:
        return f"{self.example} ({self.name})"


ISO = DateFormat("YYYY-MM-DD")
"""The format of ISO 8601, which is unambiguous and therefore valid for every column of dates."""
SECONDS = DateFormat("epoch seconds", is_inferred=False, unit=1_000_000)
MILLISECONDS = DateFormat("epoch milliseconds", is_inferred=False, unit=1_000)
COMPACT = DateFormat("YYYYMMDD")
MONTH = DateFormat("YYYY-MM")

_FORMATS = (
    ISO,
    *map(DateFormat, ("YYYY/MM/DD", "YYYY.MM.DD")),
    MONTH,
    COMPACT,
    *map(DateFormat, ("DD.MM.YYYY", "DD/MM/YYYY", "DD-MM-YYYY")),
    *map(DateFormat, ("MM/DD/YYYY", "MM-DD-YYYY", "MM.DD.YYYY")),
    *map(DateFormat, ("DD-Mon-YYYY", "DD Mon YYYY", "DD/Mon/YYYY", "DDMonYYYY")),
    *map(DateFormat, ("Mon DD, YYYY", "Mon YYYY", "YYYY-Mon-DD")),
    *map(DateFormat, ("DD.MM.YY", "DD/MM/YY", "DD-MM-YY", "DD-Mon-YY", "DD Mon YY")),
    *map(DateFormat, ("MM/DD/YY", "MM-DD-YY")),
    *(DateFormat(name, is_inferred=False) for name in ("YY-MM-DD", "YY/MM/DD", "YY.MM.DD", "YYYY")),
    SECONDS,
    MILLISECONDS,
)
FORMATS: Mapping[str, DateFormat] = {one.name: one for one in _FORMATS}
"""Every format by its name, those that read more of ISO 8601 first."""
