"""Connections of a real service: many, idle, too many, and those of real clients."""

import json
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import LINE
from tests.system.server import PATIENCE, Server, serving

JAVA = """
import java.net.URI;
import java.net.http.*;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < 3; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(arguments[1])).build();
            HttpResponse<String> response =
                client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.version());
        }
    }
}
"""
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module", params=["on", "off"])
def line(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service with the model `line`, with and without the fast path."""
    directory = tmp_path_factory.mktemp("connections")
    with serving(directory, trainers=1, fast_path=request.param) as server:
        server.run(LINE | {"name": "line"})
        yield server


def address(server: Server) -> tuple[str, int]:
    url = server.client.base_url
    assert url.port
    return url.host, url.port


BODY = json.dumps({"model": "line", "inputs": [[1]]})


@pytest.mark.skipif(not shutil.which("java"), reason="needs java")
def test_java_client(line: Server, tmp_path: Path) -> None:
    source = tmp_path / "Client.java"
    source.write_text(JAVA)
    url = str(line.client.base_url.join("/predict"))
    said = subprocess.run(
        ["java", str(source), url, BODY],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert said.stdout.split("\n")[:3] == ["200 HTTP_1_1"] * 3


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_curl_http2(line: Server) -> None:
    url = str(line.client.base_url.join("/predict"))
    options = ["--http2", "-sS", "-H", "Content-Type: application/json", "-d", BODY]
    options += ["-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null"]
    said = subprocess.run(
        ["curl", *options, url, "--next", *options, url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert said.stdout == "200 1\n200 0\n"


def test_thousand_idle_connections_block_nobody(line: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with ExitStack() as opened:
            for number in range(1100):
                idle = opened.enter_context(
                    socket.create_connection(address(line), timeout=PATIENCE)
                )
                if number % 3 == 1:
                    idle.sendall(LIVE[:20])  # half a head
            assert line.client.get("/health/live").status_code == 200
            answer = line.client.post(
                "/predict", content=BODY, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_refusal_reaches_client_that_is_still_sending(line: Server) -> None:
    with socket.create_connection(address(line), timeout=PATIENCE) as client:
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
        client.sendall(head + b"a" * 300_000)
        with client.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 431 ")
            assert b"connection: close" in answer.read().lower()


def test_connections_are_limited_in_all_and_by_address(tmp_path: Path) -> None:
    limits = {"max_connections": 8, "max_connections_per_address": 5, "keep_alive_seconds": 5}
    with serving(tmp_path, trainers=0, **limits) as server:
        with ExitStack() as opened:

            def connected(host: str) -> socket.socket:
                return opened.enter_context(
                    socket.create_connection(address(server), PATIENCE, source_address=(host, 0))
                )

            def assert_refused(client: socket.socket, says: bytes) -> None:
                refused = client.makefile("rb").read()
                assert refused.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after: 1\r\n" in refused.lower()
                assert says in refused

            clients = [connected("127.0.0.1") for _ in range(5)]
            assert_refused(connected("127.0.0.1"), b"EPOCHD_MAX_CONNECTIONS_PER_ADDRESS")
            clients += [connected("127.0.0.2") for _ in range(3)]
            assert_refused(connected("127.0.0.3"), b"EPOCHD_MAX_CONNECTIONS)")
            # The others are served, and closed when they have been idle.
            clients[-1].sendall(LIVE)
            assert clients[-1].makefile("rb").read().startswith(b"HTTP/1.1 200 ")
            assert clients[1].recv(1) == b""
        assert server.client.get("/health/live").status_code == 200


def test_incomplete_head_is_answered(line: Server) -> None:
    with socket.create_connection(address(line), timeout=PATIENCE) as client:
        client.sendall(LIVE[:20])
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 408 ")
