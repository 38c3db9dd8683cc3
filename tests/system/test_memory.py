"""A large request's memory is given back."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.system.server import PATIENCE, Server

MIB = 1024
ROWS = 10_000
LARGE = 100 * MIB
ROUNDS = 3
SLACK = 96 * MIB
"""Growth that may stay: lazily loaded code, caches, fragments. The bodies of all rounds are twice
as large."""


def memory(server: Server, name: str) -> int:
    """Return a figure of the web process's memory, in KiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(rf"{name}:\s+(\d+)", status)
    assert match
    return int(match[1])


def test_the_memory_of_large_requests_is_given_back(server: Server, small: str) -> None:
    def predict(rows: int) -> int:
        row = b"[" + b",".join([b"1.5"] * 784) + b"]"
        body = b'{"model":"%s","inputs":[%s]}' % (small.encode(), b",".join([row] * rows))
        headers = {"content-type": "application/json"}
        url = f"{server.client.base_url}/predict"
        return httpx.post(url, content=body, headers=headers, timeout=PATIENCE).status_code

    def predict_twice_at_once() -> None:
        with ThreadPoolExecutor(2) as clients:
            assert 200 in set(clients.map(predict, [ROWS] * 2))

    # The first large requests also allocate what stays for the next ones.
    predict_twice_at_once()
    time.sleep(1.5)
    before = memory(server, "RssAnon")
    for _ in range(ROUNDS):
        predict_twice_at_once()
    peak = memory(server, "VmHWM") - memory(server, "VmRSS") + memory(server, "RssAnon")
    assert peak > before + LARGE
    deadline = time.monotonic() + PATIENCE
    while (now := memory(server, "RssAnon")) > before + SLACK:
        assert time.monotonic() < deadline, f"{before} KiB before, {now} KiB after"
        time.sleep(0.5)
