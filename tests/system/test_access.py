"""Keys in real processes: the first one, and changes that count at once."""

import os
import re
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.system.server import EPOCHD, PATIENCE, Server, launch, serving

EVERYWHERE = {"host": "0.0.0.0", "trainers": 0}


def epochd(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [EPOCHD, *arguments],
        env=os.environ | {"EPOCHD_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def me(server: Server, key: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A new connection, which any web process may accept.
    url = str(server.client.base_url).replace("0.0.0.0", "127.0.0.1")
    return httpx.get(f"{url}/me", headers=headers, timeout=PATIENCE)


def test_it_does_not_listen_beyond_this_machine_without_a_key(tmp_path: Path) -> None:
    refused = epochd(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1
    assert "epochd keys add NAME --role admin" in refused.stderr
    assert "Traceback" not in refused.stderr
    with serving(tmp_path, **EVERYWHERE, insecure=True) as server:
        assert "INSECURE" in server.log.text
        assert me(server, None).json()["role"] == "admin"
    key = epochd(tmp_path, "keys", "add", "root", "--role", "admin").stdout.strip()
    with serving(tmp_path, **EVERYWHERE) as server:
        assert me(server, None).status_code == 401
        assert me(server, key).json()["owner"] == "root"


def test_a_container_makes_its_first_key_once(tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    with serving(tmp_path, **EVERYWHERE, admin_key_file=file) as server:
        key = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert server.log.count(key) == 1
        assert me(server, key).json()["role"] == "admin"
    with serving(tmp_path, **EVERYWHERE, admin_key_file=file) as server:
        assert me(server, key).json()["role"] == "admin"
        assert file.read_text().strip() == key
        assert not re.search("epd_", server.log.text)


def test_a_key_revoked_on_the_command_line_is_refused_at_once_by_all(tmp_path: Path) -> None:
    with serving(tmp_path, trainers=0, web_workers=2) as server:
        assert me(server, None).json()["keys"] is False
        admin = epochd(tmp_path, "keys", "add", "root", "--role", "admin").stdout.strip()
        for _ in range(3):
            key = epochd(tmp_path, "keys", "add", "anna").stdout.strip()
            assert {me(server, None).status_code for _ in range(10)} == {401}
            assert {me(server, key).status_code for _ in range(10)} == {200}
            assert epochd(tmp_path, "keys", "revoke", "anna").returncode == 0
            assert {me(server, key).status_code for _ in range(10)} == {401}
        assert me(server, admin).status_code == 200
        listed = epochd(tmp_path, "keys", "list", "--revoked").stdout
        assert listed.count("revoked") == 3
        assert "epd_" not in listed


def test_a_mistyped_directory_gets_no_database(tmp_path: Path) -> None:
    for command in (("keys", "list"), ("keys", "revoke", "anna"), ("class", "revoke", "7b")):
        refused = epochd(tmp_path / "typo", *command)
        assert (refused.returncode, "no database" in refused.stderr) == (1, True)
    assert not (tmp_path / "typo").exists()


def test_a_class_gets_a_sheet(tmp_path: Path) -> None:
    epochd(tmp_path, "keys", "add", "teacher", "--role", "admin")
    sheet = epochd(tmp_path, "class", "create", "7b", "--pupils", "25").stdout
    codes = re.findall(r"code: +(\S+)", sheet)
    assert len(set(codes)) == 25
    assert re.findall(r"^7b-\d\d$", sheet, re.MULTILINE)[24] == "7b-25"
    with serving(tmp_path, trainers=0) as server:
        assert me(server, codes[24]).json()["owner"] == "7b-25"
    assert epochd(tmp_path, "class", "revoke", "7b").returncode == 0
    assert epochd(tmp_path, "class", "revoke", "7b").returncode == 1


@pytest.mark.parametrize("place", ["missing/admin.key", "."])
def test_a_first_key_that_cannot_be_written_is_not_made(tmp_path: Path, place: str) -> None:
    with pytest.raises(AssertionError):
        launch(tmp_path, **EVERYWHERE, admin_key_file=tmp_path / place)
    assert epochd(tmp_path, "keys", "list").stdout.count("\n") == 1
