"""Findings of the checks, as answers of the readiness probe."""

import pytest

from service.errors import Unavailable
from service.readiness import Finding, ReadinessChecks


def test_warnings_are_listed_and_every_blocking_reason_is_named() -> None:
    warned = ReadinessChecks([lambda: [Finding("old driver")], list, lambda: [Finding("hot")]])
    assert warned.warnings() == ["old driver", "hot"]
    blocked = ReadinessChecks(
        [
            lambda: [Finding("old driver")],
            lambda: [Finding("disk full", blocking=True)],
            lambda: [Finding("no trainer starts", blocking=True)],
        ]
    )
    with pytest.raises(Unavailable) as refused:
        blocked.warnings()
    assert refused.value.detail == "disk full; no trainer starts"
