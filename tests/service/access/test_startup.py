"""A service that others can reach does not start unnoticed without a key."""

import pytest
from typer.testing import CliRunner

from service.access.startup import prepare
from service.cli import app
from service.settings import Settings


def test_proxy_without_a_key_is_warned_of(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data_dir.mkdir()
    behind = settings.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    prepare(settings)
    assert "EPOCHD_TRUSTED_PROXIES" not in caplog.text
    prepare(behind)
    assert "EPOCHD_TRUSTED_PROXIES" in caplog.text
    caplog.clear()
    add = ["keys", "add", "root", "--role", "admin", "--data-dir", str(settings.data_dir)]
    assert CliRunner().invoke(app, add).exit_code == 0
    prepare(behind)
    assert "EPOCHD_TRUSTED_PROXIES" not in caplog.text
