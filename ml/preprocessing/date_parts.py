"""Dates as numbers that a network can learn from."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from ml.signature import DATE_PARTS, DateEncoding
from ml.spelling.date_formats import ISO
from ml.spelling.dates import days, instant

ROWS_AT_ONCE = 262_144
DECIMALS = 12
"""Digits of sines and cosines; further ones are rounding, which would look like variation."""
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


def first_days(dates: Iterable[DateEncoding]) -> Tensor:
    """Return the first day of each feature of dates, `(features,)` float64 days since 1970-01-01;
    0 before fitting."""
    instants = (instant(date.first, ISO) or 0 for date in dates)
    return torch.tensor([days(one) for one in instants], dtype=torch.float64)


def date_parts(dates: Tensor, first: Tensor) -> Tensor:
    """Return the parts of `dates` `(rows, features)`, float64 days since 1970-01-01 in UTC, in the
    order of `DATE_PARTS`: `(rows, features, parts)` float64, NaN where a date is. `first`
    `(features,)` is the day that days are counted from.
    """
    return torch.cat([_parts(some, first) for some in torch.split(dates, ROWS_AT_ONCE)])


def _parts(dates: Tensor, first: Tensor) -> Tensor:
    known = dates.nan_to_num(0.0)
    whole = known.floor()
    year, month = _year_and_month(whole.long())
    weekday = (whole.long() + EPOCH_WEEKDAY) % 7
    parts = torch.stack(
        [
            known - first,
            year.double(),
            *_circle((month - 1) / 12),
            *_circle(weekday / 7),
            *_circle(known - whole),
        ],
        dim=2,
    )
    assert parts.shape[2] == len(DATE_PARTS)
    return parts.masked_fill_(dates.isnan().unsqueeze(2), math.nan)


def _circle(turns: Tensor) -> tuple[Tensor, Tensor]:
    angle = turns.double() * (2 * math.pi)
    return angle.sin().round_(decimals=DECIMALS), angle.cos().round_(decimals=DECIMALS)


def _year_and_month(whole: Tensor) -> tuple[Tensor, Tensor]:
    """Return year and month of whole days since 1970-01-01, in the proleptic Gregorian calendar.

    The algorithm is `civil_from_days` of Howard Hinnant, "chrono-Compatible Low-Level Date
    Algorithms", 2013: years begin in March, so that leap days come last.
    """
    shifted = whole + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    from_march = (5 * of_year + 2) // 153
    month = torch.where(from_march < 10, from_march + 3, from_march - 9)
    return year + era * 400 + (month <= 2), month
