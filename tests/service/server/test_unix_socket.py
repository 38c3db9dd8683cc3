"""A Unix domain socket is for this user only, and replaces only one that nobody listens on."""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path

import pytest

from service.app import create_app
from service.server.unix_socket import SocketPathError, listening
from service.server.uvicorn_server import Server
from service.settings import Settings


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


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize(
    ("proxies", "address", "url"),
    [((), "-", "http://a"), (("unix",), "192.0.2.9", "https://epochd.example")],
)
def test_headers_of_its_proxy_are_believed_if_trusted(
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fast_path: bool,
    proxies: tuple[str, ...],
    address: str,
    url: str,
) -> None:
    caplog.set_level(logging.INFO, "epochd.access")
    changes = {"allowed_hosts": ("a",), "fast_path": fast_path, "trusted_proxies": proxies}
    server = Server(create_app(settings.model_copy(update=changes)))
    fields = (
        b"X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: epochd.example\r\n"
    )

    async def play() -> tuple[bytes, bytes]:
        with listening(tmp_path / "socket") as bound:
            running = asyncio.create_task(server.serve([bound]))
            while not server.started:
                await asyncio.sleep(0)
            reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
            writer.write(b"GET /jobs/ HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
            moved = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"GET /jobs HTTP/1.1\r\n" + fields + b"\r\n")
            refused = await reader.read()
            writer.close()
            server.should_exit = True
            await running
        return moved, refused

    moved, refused = asyncio.run(play())
    assert f"\r\nlocation: {url}/jobs\r\n".encode() in moved
    assert refused.startswith(b"HTTP/1.1 400 ")
    messages = [message for message in caplog.messages if " GET /jobs" in message]
    assert messages[0].startswith(f"{address} GET /jobs/ 307 ")
    assert messages[1].startswith(f"{address} GET /jobs 400: the header Host is missing")
