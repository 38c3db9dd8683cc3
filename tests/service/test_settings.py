"""Settings: their paths are those that the other packages use, and misspelt ones are named."""

from pathlib import Path

import pytest

from ml.datasets.uploads import UPLOADS
from service.settings import Settings, given_variables, unknown_variables


def test_uploads_dir_is_within_the_datasets_dir(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.uploads_dir == settings.datasets_dir / UPLOADS


def test_a_variable_that_is_no_setting_is_named_with_the_nearest_one() -> None:
    names = ["EPOCHD_TRAINER", "epochd_prot", "EPOCHD_HOST", "EPOCHD_FAULT", "HOME", "EPOCHD_XYZZY"]
    assert list(unknown_variables([*names, *names])) == [
        "EPOCHD_TRAINER is not a setting and is ignored; did you mean EPOCHD_TRAINERS?",
        "EPOCHD_XYZZY is not a setting and is ignored",
        "epochd_prot is not a setting and is ignored; did you mean EPOCHD_PORT?",
    ]


def test_the_variables_of_a_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPOCHD_WEB_WORKER", "2")
    assert "EPOCHD_WEB_WORKER" in given_variables()
    (tmp_path / ".env").write_text("export EPOCHD_TRAINER=3\n# EPOCHD_HOST=1\n")
    assert "EPOCHD_TRAINER" in given_variables()
    assert "EPOCHD_HOST" not in given_variables()


def test_a_password_is_not_shown() -> None:
    url = "postgresql://user:s3cret@host/db"
    assert "s3cret" not in repr(Settings(database_url=url))
