"""2,000 random valid specs on tiny data: none ends in an unexpected error."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.ml.training.random_specs import DOCUMENTS, outcome, shelf

COUNT = int(os.environ.get("SOAK_SPECS", 2_000))
SEED = int(os.environ.get("SOAK_SEED", "1"))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_random_specs_are_refused_diverge_or_are_trained(tmp_path: Path) -> None:
    uploads, directory = shelf(tmp_path / "uploads"), tmp_path / "model"
    outcomes: Counter[str] = Counter()

    @seed(SEED)
    @settings(
        max_examples=COUNT,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(document=DOCUMENTS)
    def tried(document: dict[str, Any]) -> None:
        outcomes[outcome(document, uploads, directory)] += 1

    tried()
    print(dict(outcomes))
    assert outcomes["trained"] > COUNT // 10
