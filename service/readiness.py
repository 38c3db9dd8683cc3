"""The checks behind the readiness probe, each contributed by the part of the service it tests."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from service.errors import Unavailable


@dataclass(frozen=True)
class Finding:
    """A problem for the operator."""

    message: str
    blocking: bool = False
    """Whether the service is not ready; otherwise the message is a warning."""


Check = Callable[[], Iterable[Finding]]


class ReadinessChecks:
    """All checks of a web process."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks

    def warnings(self) -> list[str]:
        """Run the checks and return their warnings.

        Raises:
            Unavailable: the service is not ready; the detail names every reason.
        """
        findings = [finding for check in self._checks for finding in check()]
        blocking = [finding.message for finding in findings if finding.blocking]
        if blocking:
            raise Unavailable("; ".join(blocking))
        return [finding.message for finding in findings]
