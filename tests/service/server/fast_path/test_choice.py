"""The fast path is used if it is enabled and uvicorn is a tested version."""

import logging
import sys

import pytest
import uvicorn

from service.app import create_app
from service.server.fast_path.protocol import Connection
from service.server.uvicorn_server import Server
from service.settings import Settings

FAST_PATH = "service.server.fast_path"


def protocol(settings: Settings, fast_path: bool) -> type:
    """Return the connection class of a server."""
    config = Server(create_app(settings.model_copy(update={"fast_path": fast_path}))).config
    config.load()
    return config.http_protocol_class


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.fixture
def without_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make imports of modules that depend on uvicorn's internals fail."""
    for module in "protocol", "small_predictions", "head_cache":
        monkeypatch.setitem(sys.modules, f"{FAST_PATH}.{module}", None)


def test_fast_path_is_on_for_a_tested_version(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert issubclass(protocol(settings, fast_path=True), Connection)
    assert warnings(caplog) == []


@pytest.mark.parametrize("version", ["0.540.0", "0.55.0", "1.54.0", "1", "0.55.dev1"])
@pytest.mark.usefixtures("without_fast_path")
def test_fast_path_is_off_with_a_warning_for_other_versions(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    monkeypatch.setattr(uvicorn, "__version__", version)
    assert not issubclass(protocol(settings, fast_path=True), Connection)
    [line] = warnings(caplog)
    assert line == (
        f"the fast path is off: it is tested with uvicorn 0.54, and this is uvicorn {version}"
    )


@pytest.mark.parametrize("version", [uvicorn.__version__, "0.55.0"])
@pytest.mark.usefixtures("without_fast_path")
def test_fast_path_can_be_turned_off_with_any_version(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    monkeypatch.setattr(uvicorn, "__version__", version)
    assert not issubclass(protocol(settings, fast_path=False), Connection)
    assert warnings(caplog) == []


def test_environment_variable_accepts_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPOCHD_FAST_PATH", raising=False)
    assert Settings().fast_path
    monkeypatch.setenv("EPOCHD_FAST_PATH", "off")
    assert not Settings().fast_path
