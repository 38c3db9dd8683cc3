"""A service that others can reach does not start unnoticed without a key."""

import pytest
from typer.testing import CliRunner

from service.access.startup import prepare
from service.cli import app
from service.settings import Settings


@pytest.mark.parametrize(
    ("opening", "named"),
    [
        ({"trusted_proxies": ("127.0.0.1",)}, "EPOCHD_TRUSTED_PROXIES"),
        ({"cors_origins": ("*",)}, "EPOCHD_CORS_ORIGINS"),
    ],
)
def test_who_else_is_let_in_without_a_key_is_warned_of(
    settings: Settings, caplog: pytest.LogCaptureFixture, opening: dict[str, object], named: str
) -> None:
    settings.data_dir.mkdir()
    opened = settings.model_copy(update=opening)
    prepare(settings)
    assert named not in caplog.text
    prepare(opened)
    assert named in caplog.text
    caplog.clear()
    add = ["keys", "add", "root", "--role", "admin", "--data-dir", str(settings.data_dir)]
    assert CliRunner().invoke(app, add).exit_code == 0
    prepare(opened)
    assert named not in caplog.text
