"""A Unix domain socket is for this user only, and replaces only one that nobody listens on."""

import os
import socket
import stat
from pathlib import Path

import pytest

from service.server.unix_socket import SocketPathError, listening


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_it_is_for_this_user_and_goes_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    before = os.umask(0)
    try:
        with listening(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            connect(path)
    finally:
        os.umask(before)
    assert not path.exists()


def test_one_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with listening(path):
        connect(path)


def test_one_that_another_process_took_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other, listening(path):
        path.unlink()
        other.bind(str(path))
    assert path.exists()


def test_one_in_use_is_refused_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path):
        with (
            pytest.raises(SocketPathError, match="another process listens there"),
            listening(path),
        ):
            pass
        connect(path)


def test_paths_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name, why in {
        "file": "is not a socket",
        "missing/socket": "No such file or directory",
        "long" * 50: "path too long",
    }.items():
        with pytest.raises(SocketPathError, match=why), listening(tmp_path / name):
            pass
    assert (tmp_path / "file").read_text() == "mine"
