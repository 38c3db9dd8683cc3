"""The process tree: what it imports, shows and leaves on disk, and how it recovers."""

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import LINE, REPOSITORY
from tests.system.server import EPOCHD_SERVE, PATIENCE, Log, Server, serving

TRAPS = ("queue", "random", "json", "signal", "resource", "torch", "numpy", "service", "ml")
SECRET = "s3cret-password"
OPEN_MODE = 0o022
BROKEN = """
import sys
if "service.training.trainer" in sys.orig_argv:
    sys.modules["service.training.attempt"] = None
"""
"""Makes every trainer end while starting."""


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose modules leave a file `executed` if one is imported."""
    directory = tmp_path_factory.mktemp("trapped")
    for name in TRAPS:
        (directory / f"{name}.py").write_text(
            f"open({str(directory / 'executed')!r}, 'a').write({name!r}); raise SystemExit(9)"
        )
    (directory / ".env").write_text("EPOCHD_KEEP_DAY=3\nOTHER=1\n")
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, trapped: Path) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("process") / "data"
    before = os.umask(OPEN_MODE)
    try:
        with pytest.MonkeyPatch.context() as patch:
            # PyTorch sets it in a process that has compiled something.
            patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
            with serving(
                data_dir,
                cwd=trapped,
                trainers=1,
                trainer_threads=1,
                web_workers=2,
                web_timeout_seconds=5,
                database_url=f"sqlite:///{data_dir}/{SECRET}.db",
                log_format="json",
                trainer="3",
            ) as server:
                yield server
    finally:
        os.umask(before)


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from descendants(child)


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def lines(server: Server) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.log.text.splitlines() if line.startswith("{")]


def test_nothing_is_imported_from_the_directory_it_is_started_in(
    server: Server, trapped: Path
) -> None:
    job = server.run(LINE | {"epochs": 2, "name": "line"})
    picture = server.client.get(f"/jobs/{job['id']}/charts/loss.png")
    assert picture.status_code == 200
    table = "a,b\n" + "1,2\n3,4\n" * 10
    assert server.client.post("/datasets?name=t", content=table).status_code == 201
    assert server.client.post("/expressions", json={"expression": "1+1"}).status_code == 200
    assert server.client.get("/health/ready").json()["warnings"] == []
    assert not (trapped / "executed").exists()


def test_a_command_line_has_no_password_and_trainers_are_killed_first(server: Server) -> None:
    pids = list(descendants(server.process.pid))
    [trainer] = server.trainers()
    assert {trainer, *server.web_workers()} <= set(pids)
    for pid in pids:
        assert SECRET not in Path(f"/proc/{pid}/cmdline").read_text()
        assert stat.S_IMODE(Path(f"/proc/{pid}/environ").stat().st_mode) == 0o400
    mine = oom_score(server.process.pid)
    assert {oom_score(pid) for pid in server.web_workers()} == {mine}
    assert oom_score(trainer) == min(1000, mine + 500)
    environment = Path(f"/proc/{trainer}/environ").read_text().split("\0")
    assert any(
        re.fullmatch("TORCHINDUCTOR_CACHE_DIR=.*/data/compile_cache/.*", v) for v in environment
    )
    assert "PYTHONSAFEPATH=1" in environment


def test_files_are_for_this_user_only(server: Server) -> None:
    server.run(LINE | {"epochs": 1, "name": "files"})
    [lock] = {
        line.partition("=")[2]
        for line in Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
        if line.startswith("EPOCHD_DATA_DIR=")
    }
    data_dir = Path(lock)
    found = [data_dir, *data_dir.rglob("*")]
    assert any(path.suffix == ".safetensors" for path in found)
    assert any(path.name.endswith(".db-wal") for path in found)
    assert [path for path in found if path.stat().st_mode & 0o077] == []


def test_unknown_variables_are_named(server: Server) -> None:
    server.log.wait_for("EPOCHD_TRAINER is not a setting and is ignored; did you mean")
    warnings = [str(line["message"]) for line in lines(server) if line["level"] == "warning"]
    assert (
        "EPOCHD_TRAINER is not a setting and is ignored; did you mean EPOCHD_TRAINERS?" in warnings
    )
    assert (
        "EPOCHD_KEEP_DAY is not a setting and is ignored; did you mean EPOCHD_KEEP_DAYS?"
        in warnings
    )
    assert not any("OTHER" in warning or "EPOCHD_PORT" in warning for warning in warnings)


def test_every_log_line_of_a_job_has_its_id_and_its_end_is_one(server: Server) -> None:
    good = server.run(LINE | {"epochs": 2, "name": "logged"})
    bad = LINE | {"optimizer": {"kind": "sgd", "lr": 1e6}, "epochs": 50, "name": "diverging"}
    failed = server.wait(server.submit(bad))
    assert failed["error"]["kind"] == "diverged"
    server.log.wait_for("ended at step .*: diverged: ")
    about = {
        job["id"]: [line for line in lines(server) if line.get("job_id") == job["id"]]
        for job in (good, failed)
    }
    first, *_, last = about[good["id"]]
    assert "attempt 1 trains on cpu" in str(first["message"])
    assert re.match(
        r"attempt 1 ended at step \d+ after \d+\.\d s: the job succeeded as logged@1$",
        str(last["message"]),
    )
    last = about[failed["id"]][-1]
    assert last["level"] == "warning"
    assert all("traceback" not in line for line in about[failed["id"]])
    trainers = {line["process"] for line in about[good["id"]]}
    own = [line for line in lines(server) if line["process"] in trainers]
    assert all("job_id" in line for line in own)


def test_a_web_process_that_hangs_is_replaced(server: Server) -> None:
    hung, other = server.web_workers()
    os.kill(hung, signal.SIGSTOP)
    server.log.wait_for(f"killing web process {hung}, which has not responded")
    server.log.wait_for(f"web process {hung} ended unexpectedly")
    for _ in range(10):
        with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE) as client:
            assert client.get("/health/live").status_code == 200
    assert hung not in server.web_workers()
    assert other in server.web_workers()


def test_a_socket_serves_this_user_and_readiness_tells_why_no_trainer_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    path = tmp_path / "epochd.sock"
    command = [*EPOCHD_SERVE, "--uds", str(path), "--data-dir", str(tmp_path / "data")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)]),
        "EPOCHD_TRAINERS": "1",
    }

    def start() -> "tuple[subprocess.Popen[str], Log]":
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout
        return process, Log(process.stdout)

    killed, log = start()
    log.wait_for(f"running on unix:{path}")
    killed.kill()
    killed.wait()
    # The socket it left behind is replaced.
    process, log = start()
    try:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)), base_url="http://epochd", timeout=60
        ) as client:
            log.wait_for("(?s)(?:0 ended while starting.*?){2}0 ended while starting")
            [warning] = client.get("/health/ready").json()["warnings"]
            assert re.match("jobs stay queued: no trainer has started for [0-9]+ seconds", warning)
            assert "exit code 1: ModuleNotFoundError: import of service.training.att" in warning
            assert client.post("/predict", json={"model": "m", "inputs": [[1]]}).status_code == 404
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
    assert not path.exists()
