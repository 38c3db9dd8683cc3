"""Features of dates: the encoding that is fitted to the training rows."""

from collections.abc import Collection

from torch import Tensor

from ml.preprocessing import Moments, date_parts, moments
from ml.signature import DATE_PARTS, DateEncoding, DatePart
from ml.spelling.dates import DAY, written


def all_parts(with_times: bool, only_days: bool) -> list[DatePart]:
    """Return the parts that a date may be encoded as, in order."""
    if only_days:
        return ["days"]
    return [part for part in DATE_PARTS if with_times or not part.startswith("time")]


def fit_dates(dates: Tensor, allowed: Collection[DatePart]) -> tuple[DateEncoding, Moments]:
    """Return the encoding of a feature of `dates` (rows,), float64 days since 1970-01-01 in UTC and
    NaN where missing, and the moments of its parts, which are of those `allowed`.

    Parts other than the days that do not vary are left out: they could only mislead.
    """
    known = dates[~dates.isnan()]
    first = known.min().floor() if len(known) else known.new_zeros(())
    mean, std = moments(date_parts(dates.unsqueeze(1), first.unsqueeze(0)).squeeze(1))
    kept = [
        index
        for index, part in enumerate(DATE_PARTS)
        if part in allowed and (part == "days" or std[index].isfinite())
    ]
    encoding = DateEncoding(
        first=written(round(first.item()) * DAY, with_time=False),
        parts=[DATE_PARTS[index] for index in kept],
    )
    return encoding, (mean[kept], std[kept])
