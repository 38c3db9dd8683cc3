"""Warnings about features that do not vary in the training rows, and are therefore masked."""

from collections.abc import Collection, Mapping

from ml.ingest.warning import DataWarning

MAX_WARNINGS = 50
MAX_SHOWN = 100
"""Maximum number of characters of a value in a message."""


def warnings(values: Mapping[str, str | None], gaps: Collection[str] = ()) -> list[DataWarning]:
    """Return a warning for each masked feature, given its only value, or None if it has none.
    `gaps` are the features that have missing values besides others."""
    found = [_warning(name, value, name in gaps) for name, value in values.items()]
    if len(found) <= MAX_WARNINGS:
        return found
    more = len(found) - MAX_WARNINGS
    message = f"{more:,} more columns do not vary in the training rows and have no effect"
    return [*found[:MAX_WARNINGS], DataWarning(column=None, kind="constant", message=message)]


def _warning(name: str, value: str | None, has_gaps: bool) -> DataWarning:
    if value is None:
        message = f"{name!r} has no value in any training row; it has no effect on predictions"
        return DataWarning(column=name, kind="empty", message=message)
    shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
    if has_gaps:
        message = (
            f"{name!r} is {shown} or missing in every training row; other values have no effect on "
            "predictions"
        )
    else:
        message = f"{name!r} is {shown} in every training row; it has no effect on predictions"
    return DataWarning(column=name, kind="constant", message=message)
