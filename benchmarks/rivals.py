"""Other servers of the same network, run one at a time for comparison with epochd's predictions.

Their programs are in `served`. A rival with a `requirement` gets its own environment in
`results/environments`, created once, since its pins conflict with epochd's. Packages outside the
requirement, PyTorch above all, come from the environment that runs this module.
"""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SERVED = Path(__file__).parent / "served"
ENVIRONMENTS = Path(__file__).parent / "results" / "environments"
PIXELS = [(i * 37) % 256 for i in range(784)]
JSON = "application/json"
PR_SET_CHILD_SUBREAPER = 36


class Unusable(Exception):
    """A rival cannot be installed or does not respond; the message states the reason."""


@dataclass(frozen=True)
class Rival:
    name: str
    command: tuple[str, ...]
    """Program in the rival's environment, with arguments. Placeholders: {port}, the port to listen
    on; {spare}, another free port; {directory}, its initially empty working directory."""

    requirement: str | None = None
    """Requirement to install in a separate environment; None to use the current one."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables, with the placeholders of `command`."""

    path: str = "/predict"
    question: Mapping[str, Any] = field(default_factory=lambda: {"inputs": [PIXELS]})
    predicts: bool = True

    @property
    def body(self) -> bytes:
        return json.dumps(self.question).encode()


UVICORN = ("uvicorn", "--port", "{port}", "--no-access-log")
BARE = Rival("a bare ASGI application", (*UVICORN, "bare:app"), predicts=False)
TUTORIAL = Rival("the FastAPI tutorial's way", (*UVICORN, "tutorial:app"))
INSTALLABLE = (
    Rival(
        "LitServe",
        ("python", "-m", "with_litserve", "{port}"),
        requirement="litserve==0.2.19",
    ),
    Rival(
        "BentoML",
        ("bentoml", "serve", "with_bentoml:Mnist", "--host", "127.0.0.1", "--port", "{port}"),
        requirement="bentoml==1.4.40",
        variables={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Rival(
        "MLServer",
        ("mlserver", "start", "{directory}"),
        requirement="mlserver==1.7.1",
        # For a small network one process is faster than a separate worker. Batching is no faster at
        # 64 connections, and only adds waiting time at one.
        variables={
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{spare}",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_PARALLEL_WORKERS": "0",
            "MLSERVER_METRICS_ENDPOINT": "",
            "MLSERVER_MODEL_NAME": "mnist",
            "MLSERVER_MODEL_IMPLEMENTATION": "with_mlserver.Mnist",
        },
        path="/v2/models/mnist/infer",
        question={
            "inputs": [{"name": "inputs", "shape": [1, 784], "datatype": "FP32", "data": PIXELS}]
        },
    ),
    Rival(
        "Ray Serve",
        ("python", "-m", "with_ray", "{port}", "{directory}/ray"),
        requirement="ray[serve]==2.60.0",
        variables={
            "RAY_USAGE_STATS_ENABLED": "0",
            # Keeps inter-process traffic on 127.0.0.1, on Linux too.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # From Ray's guide to high throughput: HAProxy in front of the replica makes it five
            # times as fast.
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "{directory}/haproxy/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": "{directory}/haproxy/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "{directory}/haproxy/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "{directory}/haproxy",
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "{directory}/haproxy/server-state",
        },
    ),
)


def prepare(rival: Rival) -> Path:
    """Create the rival's environment if necessary, and return its directory of programs."""
    if rival.requirement is None:
        return Path(sys.executable).parent
    environment = ENVIRONMENTS / re.sub(r"[^\w.]+", "-", rival.requirement)
    programs, complete = environment / "bin", environment / "complete"
    if complete.exists():
        return programs
    print(f"installing {rival.requirement}", file=sys.stderr)
    venv = [sys.executable, "-m", "venv", "--clear", "--without-pip", environment]
    subprocess.run(venv, check=True)
    # Entries of a .pth file come last, so the rival's own pins take precedence.
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
    (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    installed = subprocess.run([*pip, rival.requirement], capture_output=True, text=True)
    if installed.returncode:
        errors = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
        raise Unusable("\n".join(errors) or installed.stderr)
    complete.touch()
    return programs


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@contextmanager
def ending_all() -> Iterator[None]:
    """Kill all processes started in this context and their descendants, in any session."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans become our children
    before = children()
    try:
        yield
    finally:
        while started := children() - before:
            for pid in started:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


@contextmanager
def running(rival: Rival) -> Iterator[str]:
    """Run the rival during this context; yield its URL once it returns valid predictions."""
    programs = prepare(rival)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, ending_all():
        places = {"port": free_port(), "spare": free_port(), "directory": directory}
        program, *arguments = (part.format(**places) for part in rival.command)
        variables = {name: value.format(**places) for name, value in rival.variables.items()}
        said = Path(directory) / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [programs / program, *arguments],
                cwd=directory,
                # HOME and TMPDIR contain the files that it leaves behind.
                env=os.environ
                | {"PYTHONPATH": str(SERVED), "HOME": directory, "TMPDIR": directory}
                | variables,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{places['port']}{rival.path}"
            wait_for_answer(rival, url, process, said)
            yield url
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)


def wait_for_answer(rival: Rival, url: str, process: "subprocess.Popen[bytes]", said: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            response = httpx.post(
                url, content=rival.body, headers={"Content-Type": JSON}, timeout=30
            )
            if response.is_success:
                if rival.predicts and not any(map(is_prediction, parts(response.json()))):
                    raise Unusable(f"its response is not a prediction: {response.text[:500]}")
                return
        time.sleep(0.2)
    raise Unusable(f"it does not respond:\n{said.read_text()[-2000:]}")


def parts(document: object) -> Iterator[object]:
    yield document
    inner = document.values() if isinstance(document, dict) else document
    if isinstance(inner, Iterable) and not isinstance(inner, str):
        for part in inner:
            yield from parts(part)


def is_prediction(part: object) -> bool:
    return isinstance(part, list) and len(part) == 10 and abs(sum(part) - 1) < 0.001
