"""The command line, run in a subprocess."""

import os
import subprocess
from pathlib import Path

import pytest

from ml import __version__
from tests.system.server import EPOCHD, PATIENCE, Server


def epochd(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [EPOCHD, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_version() -> None:
    assert epochd("version").stdout.strip() == __version__


@pytest.mark.parametrize("web_workers", ["1", "2"])
def test_a_file_is_not_replaced_by_a_socket(tmp_path: Path, web_workers: str) -> None:
    file = tmp_path / "notes"
    file.write_text("mine")
    options = ("--uds", str(file), "--data-dir", str(tmp_path / "data"))
    result = epochd("serve", *options, EPOCHD_TRAINERS="0", EPOCHD_WEB_WORKERS=web_workers)
    assert result.returncode == 1
    assert f"cannot listen on {file}: [Errno 17] it exists and is not a socket" in result.stderr
    assert "Traceback" not in result.stderr
    assert file.read_text() == "mine"


def test_help_lists_the_commands() -> None:
    assert "serve" in epochd("--help").stdout


def test_second_service_on_a_data_directory_is_refused(server: Server, data_dir: Path) -> None:
    second = epochd("serve", "--data-dir", str(data_dir), "--port", "0")
    assert second.returncode == 1
    assert second.stderr.startswith(f"another epochd uses {data_dir}")
    assert server.client.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"EPOCHD_PORT": "http"}, "EPOCHD_PORT: "),
        ({"EPOCHD_TRAINERS": "-1"}, "EPOCHD_TRAINERS: "),
        ({"EPOCHD_DATA_DIR": "/proc/epochd"}, "cannot write to the data directory /proc/epochd"),
        ({"EPOCHD_WEB_TIMEOUT_SECONDS": "1"}, "EPOCHD_WEB_TIMEOUT_SECONDS: "),
    ],
)
def test_invalid_settings_are_reported_in_one_line(environment: dict[str, str], says: str) -> None:
    result = epochd("serve", **environment)
    assert result.returncode == 1
    assert result.stderr.startswith(says)
    assert "Traceback" not in result.stderr
