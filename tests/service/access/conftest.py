"""A service with keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.artifacts import Manifest
from service.settings import Settings
from tests.service.access.people import People, started


@pytest.fixture
def people(
    settings: Settings, migrated: Path, manifest: Manifest, tmp_path: Path
) -> Iterator[People]:
    with started(settings, migrated, manifest, tmp_path / "model") as people:
        yield people


@pytest.fixture
def private(
    settings: Settings, migrated: Path, manifest: Manifest, tmp_path: Path
) -> Iterator[People]:
    """A service whose members see only what they own."""
    own = settings.model_copy(update={"members_see": "own"})
    with started(own, migrated, manifest, tmp_path / "model") as people:
        yield people
