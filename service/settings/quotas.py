"""Quotas of the operator: what an owner may use, by role or by name.

They are written as `member: waiting=50 running=2; anna: running=4`: for each role or owner, its
limits. A limit of an owner's own line wins over the same one of the role's line.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict

NONE = "none"
"""Stands for no limit, as in `anna: running=none`."""
EXAMPLE = "member: waiting=50 running=2; anna: running=4"

LEAST_RATE = 0.001
"""Predictions a second of the smallest quota: one in a quarter of an hour."""


class Limits(BaseModel):
    """Limits on the use of the service; null for none."""

    model_config = ConfigDict(frozen=True)

    waiting: int | None = None
    """Queued jobs."""
    running: int | None = None
    """Running jobs; further ones stay queued."""
    stored_mb: float | None = None
    """Size of uploaded files and of models."""
    device_seconds_per_day: float | None = None
    """Seconds of trainers in a day of UTC; then further jobs stay queued."""
    predictions_per_second: float | None = None
    """Requests for predictions a second."""


class QuotaLine(BaseModel):
    """The limits that a line of the setting gives a role or an owner."""

    model_config = ConfigDict(frozen=True)

    name: str
    limits: Limits


def parse_quotas(text: str) -> tuple[QuotaLine, ...]:
    """Return the lines of the setting.

    Raises:
        ValueError: the text is not of the form of `EXAMPLE`.
    """
    lines: list[QuotaLine] = []
    for part in text.split(";"):
        if not part.strip():
            continue
        name, colon, limits = (piece.strip() for piece in part.partition(":"))
        if not (name and colon):
            raise ValueError(
                f"{part.strip()!r} names no role or owner; write, for example, {EXAMPLE}"
            )
        if any(line.name == name for line in lines):
            raise ValueError(f"{name!r} has two lines; write its limits in one")
        lines.append(QuotaLine(name=name, limits=_limits(name, limits)))
    return tuple(lines)


def _limits(name: str, text: str) -> Limits:
    values: dict[str, float | None] = {}
    for word in text.replace(",", " ").split():
        key, _, value = word.partition("=")
        if key not in Limits.model_fields:
            near = get_close_matches(key, Limits.model_fields, n=1)
            hint = (
                f"; did you mean {near[0]}?"
                if near
                else f"; choose {', '.join(Limits.model_fields)}"
            )
            raise ValueError(f"{name}: {key!r} is no limit{hint}")
        if key in values:
            raise ValueError(f"{name}: {key} is given twice")
        values[key] = None if value == NONE else _number(f"{name}: {key}", value)
    if not values:
        raise ValueError(f"{name}: has no limits; write, for example, {EXAMPLE}")
    return Limits.model_validate(values)


def _number(place: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    whole = place.endswith((" waiting", " running"))
    if not 0 <= number <= 1e15 or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{place}={text} must be {kind} of at least 0, or {NONE}")
    if place.endswith(" predictions_per_second") and number < LEAST_RATE:
        raise ValueError(
            f"{place}={text} would refuse almost every prediction; give at least {LEAST_RATE:g}, "
            "or use a key of another role"
        )
    return number


class Quotas:
    """The limits of every role and owner."""

    def __init__(self, lines: Sequence[QuotaLine] = ()) -> None:
        self._lines = {line.name: line.limits for line in lines}

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def names(self) -> list[str]:
        """Roles and owners that have a line."""
        return list(self._lines)

    def of(self, role: str, owner: str | None) -> Limits:
        """Return the limits of an owner whose key has `role`."""
        general = self._lines.get(role, _NO_LIMITS)
        own = None if owner is None else self._lines.get(owner)
        if own is None:
            return general
        named = {name: getattr(own, name) for name in own.model_fields_set}
        return general.model_copy(update=named)

    def sets(self, limit: str) -> bool:
        """Return whether any line names this limit."""
        return any(getattr(limits, limit) is not None for limits in self._lines.values())


def counted(jobs: int) -> str:
    """Return a number of jobs in words."""
    return f"{jobs:,} job{'' if jobs == 1 else 's'}"


_NO_LIMITS = Limits()
