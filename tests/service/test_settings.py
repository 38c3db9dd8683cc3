"""Paths in the settings are those that the other packages use."""

from pathlib import Path

from ml.datasets.uploads import UPLOADS
from service.settings import Settings


def test_uploads_dir_is_within_the_datasets_dir(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.uploads_dir == settings.datasets_dir / UPLOADS
