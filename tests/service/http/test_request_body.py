"""Bodies are decompressed, stripped of a byte-order mark and counted at every door."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.body_budget import BodyBudget
from service.http.request_body import CHUNK_BYTES
from service.settings import MIB, Settings
from tests.conftest import LINE

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, 2 * i) for i in range(200))
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_body_bytes": MIB, "max_upload_bytes": 2 * MIB})


def post(client: TestClient, path: str, content: Any, encoding: str, **headers: str) -> Any:
    given = {"content-type": "application/json", "content-encoding": encoding} | headers
    return client.post(path, content=content, headers=given)


@pytest.mark.parametrize("encoding", PACKED)
def test_every_route_decompresses(client: TestClient, encoding: str) -> None:
    packed = PACKED[encoding]
    assert post(client, "/jobs", packed(json.dumps(LINE).encode()), encoding).status_code == 202
    answer = post(client, "/predict", packed(b'{"model": "nothing", "inputs": [[1]]}'), encoding)
    assert (answer.status_code, "no model 'nothing'" in answer.json()["detail"]) == (404, True)
    answer = post(client, "/v2/repository/index", packed(b'{"ready": 3}'), encoding)
    assert (answer.status_code, "ready" in answer.json()["error"]) == (400, True)
    kind = {"content-type": "application/octet-stream"}
    answer = post(client, "/datasets?name=packed", packed(CSV), encoding, **kind)
    assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(CSV).hexdigest())
    ndjson = {"content-type": "application/x-ndjson"}
    answer = post(client, "/predict?model=nothing", packed(b"[1]\n"), encoding, **ndjson)
    assert answer.status_code == 404


def test_gzip_in_pieces_and_several_members(client: TestClient) -> None:
    content = gzip.compress(CSV[:500]) + gzip.compress(CSV[500:])
    pieces = (content[place : place + 3] for place in range(0, len(content), 3))
    kind = {"content-type": "text/csv"}
    answer = post(client, "/datasets?name=pieces", pieces, "gzip", **kind)
    assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(CSV).hexdigest())


@pytest.mark.parametrize("size", [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_bodies_of_the_size_of_chunks(client: TestClient, size: int) -> None:
    answer = post(client, "/jobs", gzip.compress(b" " * size + b"{"), "gzip")
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:epochd:bad-request"
    answer = post(client, "/jobs", gzip.compress(b" " * (size - 2) + b"{}"), "gzip")
    assert answer.status_code == 422


BOMB = zlib.compress(b" " * 100_000_000)


@pytest.mark.parametrize("path", ["/jobs", "/predict", "/v2/models/m/infer", "/datasets"])
@pytest.mark.parametrize(
    ("content", "encoding", "status", "says"),
    [
        (BOMB, "deflate", 413, "exceeds the limit"),
        (b"xx", "gzip", 400, "not valid gzip data"),
        (gzip.compress(CSV, mtime=0)[:-9], "gzip", 400, "it is truncated"),
        (zlib.compress(b"{}") + b"x", "deflate", 400, "not valid deflate data"),
        (gzip.compress(b"", mtime=0) * 1001, "gzip", 400, "too many small members"),
        (b"{}", "br", 415, "must be gzip or deflate, not br"),
        (b"{}", "gzip, gzip", 415, "must be gzip or deflate, not gzip, gzip"),
    ],
)
def test_malformed_compression_is_refused(
    client: TestClient, path: str, content: bytes, encoding: str, status: int, says: str
) -> None:
    answer = post(client, path, content, encoding)
    assert answer.status_code == status, answer.text
    assert says in answer.text
    assert answer.headers.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)
    if status == 413:
        # Its rest is not read.
        assert answer.headers["connection"] == "close"


def test_announced_length_over_the_limit_closes_the_connection(client: TestClient) -> None:
    for path in ("/jobs", "/predict", "/v2/models/m/infer"):
        answer = post(client, path, b"x" * (MIB + 1), "identity")
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")


def test_lines_of_content_encoding_are_one_list(client: TestClient) -> None:
    def upload(*encodings: str) -> Any:
        lines = [("content-encoding", encoding) for encoding in encodings]
        return client.post("/datasets?name=a", content=gzip.compress(CSV), headers=lines)

    assert upload("identity", "gzip").status_code == 201
    answer = upload("gzip", "gzip")
    assert (answer.status_code, "not gzip, gzip" in answer.text) == (415, True)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_byte_order_mark_is_removed(client: TestClient, encoding: str, size: int) -> None:
    def marked(text: str) -> Iterator[bytes]:
        content = text.encode("utf-8-sig")
        content = gzip.compress(content) if encoding == "gzip" else content
        return (content[place : place + size] for place in range(0, len(content), size))

    assert post(client, "/jobs", marked(json.dumps(LINE)), encoding).status_code == 202
    answer = post(client, "/predict", marked('{"model": "no", "inputs": [[1]]}'), encoding)
    assert answer.status_code == 404, answer.text
    answer = post(client, "/v2/repository/index", marked("{}"), encoding)
    assert answer.json() == []
    answer = post(client, "/expressions/evaluate", marked("{}"), encoding)
    assert answer.status_code in (404, 422), answer.text


def test_bodies_in_memory_are_limited(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_bodies_mb": 1}))
    budget = app.body_budget
    with TestClient(app) as client:
        budget.hold(MIB - 100)
        for path in ("/jobs", "/predict", "/v2/models/m/infer", "/datasets?name=a"):
            answers = [
                post(client, path, content, "identity")
                for content in (b"x" * 200, (b"x" for _ in range(200)))
            ]
            for answer in answers:
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert "EPOCHD_MAX_BODIES_MB" in answer.text
        budget.release(MIB - 200)
        # The budget is released, also after errors.
        assert post(client, "/jobs", b"{}", "identity").status_code == 422
        budget.check(MIB - 100)


def test_spooled_body_takes_little_of_the_budget(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_bodies_mb": 2, "max_upload_bytes": 8 * MIB}))
    app.body_budget.hold(MIB - 1)
    with TestClient(app) as client:
        ndjson = {"content-type": "application/x-ndjson"}
        content = b"1" * (MIB + 100)
        spooled = post(client, "/predict?model=none", content, "identity", **ndjson)
        assert spooled.status_code == 404
        assert post(client, "/jobs", content, "identity", **ndjson).status_code == 503
        answer = post(client, "/datasets?name=long", CSV + b"1,2\n" * MIB, "identity")
        assert answer.status_code == 201, answer.text


def test_budget_fits_at_least_one_body(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_bodies_mb": 1, "max_body_bytes": 3 * MIB}))
    assert app.body_budget.limit == 3 * MIB


def test_buffers_of_connections_count() -> None:
    budget = BodyBudget(100)
    budget.buffered = 60
    budget.hold(40)
    with pytest.raises(Exception, match="exceed 100 bytes"):
        budget.hold(1)
