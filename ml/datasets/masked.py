"""Warnings about features that do not vary in the training rows, and are therefore masked."""

from collections.abc import Collection, Mapping

from ml.ingest.warning import DataWarning, folded, quoted

MAX_SHOWN = 100
"""Maximum number of characters of a value in a message."""


def warnings(values: Mapping[str, str | None], gaps: Collection[str] = ()) -> list[DataWarning]:
    """Return a warning for each masked feature, given its only value, or None if it has none.
    `gaps` are the features that have missing values besides others."""
    return folded(_warning(name, value, name in gaps) for name, value in values.items())


def _warning(name: str, value: str | None, has_gaps: bool) -> DataWarning:
    if value is None:
        message = (
            f"{quoted(name)} has no value in any training row; it has no effect on predictions"
        )
        return DataWarning(column=name, kind="empty", message=message)
    shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
    if has_gaps:
        message = (
            f"{quoted(name)} is {shown} or missing in every training row; other values have no "
            "effect on predictions"
        )
    else:
        message = (
            f"{quoted(name)} is {shown} in every training row; it has no effect on predictions"
        )
    return DataWarning(column=name, kind="constant", message=message)
