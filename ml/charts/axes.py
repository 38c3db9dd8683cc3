"""How charts write numbers: on axes, and the range that an axis covers."""

import re
from collections.abc import Iterable

import altair as alt

Range = tuple[float, float]

SEPARATED = 10_000
"""Numbers from here on have thousands separators; years and other numbers of four digits none."""
LARGE, SMALL = 1e6, 1e-3
"""Numbers from here on, or below, are written with an exponent: zeros would fill the page."""
CODES = re.compile(
    r"(?<![^\W_])(id|code|zip|zipcode|postcode|plz|cep|date|datum|fecha|код|индекс|дата)$"
    r"|(编号|編號|番号|代码|代碼|コード|邮编|郵遞區號|日期|日付|번호|코드|날짜)$",
    re.IGNORECASE,
)
"""Last words of the names of columns whose whole numbers are no quantities, however large."""


def number_range(values: Iterable[float | None]) -> Range:
    """Return the least and the greatest value, null left out; (0, 1) without any."""
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def domain(low: float, high: float) -> Range:
    """Return a range for an axis: equal ends are moved apart."""
    if low < high:
        return low, high
    return low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)


def number_axis(name: str, values: Iterable[float | None], ticks: int) -> alt.Axis:
    """Return the axis of a column: large numbers have separators or an exponent, years and codes
    have neither, and whole numbers have no fractional ticks."""
    known = [value for value in values if value is not None]
    whole = all(value % 1 == 0 for value in known)
    low, high = number_range(known)
    written = number_format(low, high, is_code=whole and is_code(name))
    if known and whole and high - low <= ticks:
        return alt.Axis(format=written, values=list(range(int(low), int(high) + 1)))
    return alt.Axis(format=written, tickCount=ticks)


def number_format(low: float, high: float, is_code: bool = False) -> str:
    """Return the d3 format of numbers from `low` to `high`; its precision follows the ticks."""
    largest = max(abs(low), abs(high))
    if is_code:
        return "f"
    if largest >= LARGE or 0 < largest < SMALL:
        return "~e"
    return ",f" if largest >= SEPARATED else "f"


def figure(number: float) -> str:
    """Return a number with three significant digits, for a sentence: `4,050`, `1.5e9`."""
    mantissa, exponent = f"{number:.2e}".split("e")
    text = f"{float(mantissa):g}e{int(exponent)}"
    if number == 0 or SMALL <= abs(number) < LARGE:
        text = f"{float(text):,.10g}"
    return text.replace("-", "\N{MINUS SIGN}")


def is_code(name: str) -> bool:
    """Return whether a column's name tells that its whole numbers are no quantities."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return CODES.search(spaced) is not None


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
