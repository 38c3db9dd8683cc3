"""60,000 damaged request bodies at every door: each is answered, none by an internal error."""

import http.client
import io
import json
import os
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from tests.conftest import LINE, PLANE
from tests.ml.ingest.mutations import damaged
from tests.system.server import serving

COUNT = int(os.environ.get("SOAK_BODIES", 60_000))
SEED = int(os.environ.get("SOAK_SEED", "1"))
SLOWEST_SECONDS = 10.0
GROWTH_MIB = 512
JSON = "application/json"
TABLE = b"colour,size,price\n" + b"red,1,2.5\nblue,2,3.5\n" * 20
ODD: list[object] = [
    *(None, True, 0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, -0.0, 0.1, "", "NaN", "\0", "\ud800"),
    *("1e999", "name", [], {}, [[]], [None], {"": 0}, "x" * 70_000, [0] * 5000, ["a"] * 300),
]


@dataclass(frozen=True)
class Door:
    """A request that is answered without an error until its body is damaged."""

    path: str
    body: bytes
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    weight: int = 100
    """How often the door is chosen, relative to others."""


READER = 4
"""Weight of a door behind which each body starts a process; `test_mutations` damages more files."""


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array, np.float32))
    return file.getvalue()


def form(content: bytes, filename: str) -> tuple[bytes, str]:
    head = (
        f'--edge\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def doors(table_id: str) -> list[Door]:
    rows = [[0.1, 0.2, 0.3], {"a": 1, "b": 2, "c": 3}]
    tensor: dict[str, object] = {
        "name": "inputs",
        "shape": [1, 3],
        "datatype": "FP32",
        "data": [[1, 2, 3]],
    }
    head = {k: v for k, v in tensor.items() if k != "data"}
    head["parameters"] = {"binary_data_size": 12}
    binary = json.dumps({"inputs": [head]}).encode()
    length = {"Inference-Header-Content-Length": str(len(binary))}
    upload = {"kind": "upload", "id": table_id, "target": "price"}
    documents: dict[str, object] = {
        "/predict": {"model": "plane", "inputs": rows},
        "/v2/models/plane/infer": {"id": "1", "inputs": [tensor]},
        "/jobs": PLANE | {"split": {"validation": 0.2}, "schedule": {"kind": "cosine"}},
        "/expressions": {"expression": "a @ b", "variables": {"a": [[1, 2]], "b": [[3], [4]]}},
        "/models/plane/versions/1/evaluate": {"dataset": PLANE["dataset"]},
    }
    return [
        *(Door(path, json.dumps(document).encode()) for path, document in documents.items()),
        Door("/jobs", json.dumps({"dataset": upload, "model": {"kind": "linear"}}).encode()),
        Door("/predict?model=plane", b"[1,2,3]\n" * 9, "application/x-ndjson"),
        Door("/predict?model=plane", npy([[1, 2, 3]]), "application/x-npy"),
        Door("/predict?model=plane", bytes(12), "application/octet-stream"),
        Door("/predict?model=digits", png(), "image/png"),
        Door("/predict?model=digits", *form(png(), "a.png")),
        Door("/datasets?name=t", TABLE, "text/csv", weight=READER),
        Door("/datasets?name=t", *form(TABLE, "t.csv"), weight=READER),
        Door("/v2/models/plane/infer", binary + bytes(12), "application/octet-stream", length),
    ]


def replaced(document: object, random: Random) -> object:
    """Return a JSON document with one of its values, or of its keys, replaced."""
    if isinstance(document, dict) and document and random.random() < 0.8:
        key = random.choice(list(document))
        if random.random() < 0.1:
            return {**document, random.choice(["", "kind", "é", "x" * 300]): document[key]}
        return {**document, key: replaced(document[key], random)}
    if isinstance(document, list) and document and random.random() < 0.8:
        place = random.randrange(len(document))
        return [*document[:place], replaced(document[place], random), *document[place + 1 :]]
    return random.choice(ODD)


def bad(door: Door, random: Random) -> bytes:
    if door.kind == JSON and random.random() < 0.6:
        return json.dumps(replaced(json.loads(door.body), random)).encode()
    return damaged(door.body, random)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_damaged_bodies_are_answered(tmp_path: Path, mnist_root: Path) -> None:
    (tmp_path / "datasets").symlink_to(mnist_root)
    with serving(tmp_path, trainers=1) as server:
        for spec in (LINE, PLANE):
            server.run(spec | {"epochs": 1})
        digits = {"name": "digits", "dataset": {"kind": "mnist"}, "model": {"kind": "linear"}}
        server.run(digits | {"epochs": 1})
        response = server.client.post("/datasets", files={"file": ("t.csv", TABLE)})
        table_id = response.raise_for_status().json()["id"]
    with serving(tmp_path, trainers=0) as server:
        port = server.client.base_url.port or 0
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            found, slowest = send(connection, doors(table_id), server.process.pid)
        print(f"\n{dict(sorted(found.items()))}, slowest {slowest:.2f} s")
        assert not {status for _, status in found if status in (500, 502)}
        assert slowest < SLOWEST_SECONDS
        assert server.client.get("/health/ready").status_code == 200


def send(
    connection: http.client.HTTPConnection, all_doors: list[Door], pid: int
) -> tuple[Counter[tuple[str, int]], float]:
    """Send `COUNT` damaged bodies; count the statuses by path, and return the longest response
    time."""
    random, found, slowest = Random(SEED), Counter[tuple[str, int]](), 0.0
    before = resident_mib(pid)
    weights = [door.weight for door in all_doors]
    for number in range(COUNT):
        # At first every door is tried with a sound body.
        is_sound = number < len(all_doors)
        door = all_doors[number] if is_sound else random.choices(all_doors, weights)[0]
        body = door.body if is_sound else bad(door, random)
        start = time.monotonic()
        connection.request("POST", door.path, body, {"Content-Type": door.kind} | door.headers)
        response = connection.getresponse()
        answer = response.read()
        slowest = max(slowest, time.monotonic() - start)
        found[door.path, response.status] += 1
        assert response.status != 500, (door.path, body[:2000], answer)
        assert response.status < 300 or not is_sound, (door.path, answer)
    assert resident_mib(pid) < before + GROWTH_MIB
    return found, slowest
