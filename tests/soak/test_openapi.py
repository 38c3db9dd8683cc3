"""Half an hour of requests generated from the service's OpenAPI description."""

import os
from pathlib import Path

import pytest

from tests.system.test_openapi import assert_conforms

EXAMPLES = int(os.environ.get("SOAK_EXAMPLES", 400))
"""Random requests to each operation; as many again break its description."""


@pytest.mark.soak
def test_random_requests_are_answered_as_described(tmp_path: Path) -> None:
    print(assert_conforms(tmp_path, "examples,coverage,fuzzing", EXAMPLES)[-1500:])
