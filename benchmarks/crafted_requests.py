"""Crafted requests, which would cost all others time or memory if they were simply read.

`benchmarks.costs` measures them.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image

MIB = 1024 * 1024
LONG = 30 * MIB
ESCAPES = b'"%b"' % (b"\\u0041" * (LONG // 6))
NAME = b'"%b"' % (b"a" * LONG)
JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}


@dataclass(frozen=True)
class Sent:
    """A request."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    unpacked: int = 0
    """Bytes of the body when it is decompressed, if it is compressed."""


Case = Callable[[], Sequence[Sent]]
"""Function that makes requests, which are sent at the same time."""


def v2(*inputs: dict[str, object]) -> list[Sent]:
    return [Sent("/v2/models/plane/infer", json.dumps({"inputs": inputs}).encode())]


def tensor(data: object, shape: list[int], datatype: str = "FP32") -> dict[str, object]:
    return {"name": "inputs", "shape": shape, "datatype": datatype, "data": data}


def v2_long_text() -> list[Sent]:
    numbers: list[object] = [1] * 20_000
    return v2(tensor([*numbers, "a" * 40_000], [20_001]))


def v2_numbers() -> list[Sent]:
    return v2(tensor([0.5] * 30_000, [10_000, 3]))


def v2_empty_texts() -> list[Sent]:
    count = 8_000_000
    about = {
        "name": "inputs",
        "shape": [count],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": 4 * count},
    }
    head = json.dumps({"inputs": [about]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return [Sent("/v2/models/plane/infer", head + bytes(4 * count), headers)]


def predict(inputs: bytes) -> list[Sent]:
    return [Sent("/predict", b'{"model": "plane", "inputs": %b}' % inputs)]


def lines(*bodies: bytes) -> list[Sent]:
    return [Sent("/predict?model=plane", b"\n".join(bodies), NDJSON)]


def unknown_keys(path: str, start: str = "{", end: str = "}", count: int = 1_000_000) -> list[Sent]:
    keys = ",".join(f'"k{n}":0' for n in range(count))
    return [Sent(path, f"{start}{keys}{end}".encode())]


def infer(inputs: bytes) -> list[Sent]:
    return [Sent("/v2/models/plane/infer", b'{"inputs":[%b]}' % inputs)]


def infer_data(data: bytes) -> list[Sent]:
    return infer(b'{"name":"inputs","shape":[1,3],"datatype":"FP32","data":%b}' % data)


def features(count: int, kind: str, feature: object) -> list[Sent]:
    named = {f"x{number}": feature for number in range(count)}
    dataset = {"kind": kind, "id": "a", "target": "1", "features": named}
    return [Sent("/jobs", json.dumps({"dataset": dataset}).encode())]


def packed(body: bytes) -> Sent:
    headers = JSON | {"content-encoding": "gzip"}
    return Sent("/predict", gzip.compress(body, 1), headers, len(body))


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def png(pixels: int, mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (pixels, pixels), 0).save(file, "PNG")
    return file.getvalue()


def form(count: int) -> Sent:
    """A form of `count` large images."""
    image, boundary = png(7000), b"frontier"
    part = (
        b'--%b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n'
        b"content-type: image/png\r\n\r\n%b\r\n" % (boundary, image)
    )
    headers = {"content-type": "multipart/form-data; boundary=frontier"}
    return Sent("/predict?model=dots", part * count + b"--%b--\r\n" % boundary, headers)


def archive() -> bytes:
    """A zip of two folders of large images."""
    file, image = io.BytesIO(), png(7000)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(4):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", image)
    return file.getvalue()


CASES: dict[str, Case] = {
    "predict: one row": lambda: predict(b"[[0.1, 0.2, 0.3]]"),
    "predict: 10,000 rows": lambda: predict(json.dumps([[0.1, 0.2, 0.3]] * 10_000).encode()),
    "predict: 16 M integers in a row": lambda: predict(b"[[" + b"1," * 16_000_000 + b"1]]"),
    "predict: 10 M empty rows": lambda: predict(b"[" + b"[]," * 10_000_000 + b"[]]"),
    "predict: 1,000 lists deep": lambda: predict(deep(1_000)),
    "predict: 900 lists deep": lambda: predict(deep(900)),
    "predict: 130,000 numbers for images": lambda: [
        Sent("/predict", b'{"model":"plane","images":[' + b"1," * 130_000 + b"1]}")
    ],
    "predict: a million unknown keys": lambda: unknown_keys(
        "/predict", '{"model":"plane","inputs":[[1,2,3]],'
    ),
    "predict: a row of a million unknown keys": lambda: predict(
        b"[{%b}]" % b",".join(b'"k%d":0' % n for n in range(1_000_000))
    ),
    "predict: a number of 1 MiB digits": lambda: predict(b"[[" + b"1" * MIB + b",2,3]]"),
    "predict: a row of 30 MiB of escapes": lambda: predict(b"[[%b]]" % ESCAPES),
    "predict: an image of 30 MiB of escapes": lambda: [
        Sent("/predict", b'{"model":"dots","images":[%b]}' % ESCAPES)
    ],
    "predict: a name of 30 MiB": lambda: [Sent("/predict", b"{%b:1}" % NAME)],
    "predict: a feature's name of 30 MiB": lambda: predict(b"[{%b:1}]" % NAME),
    "predict: 30 MiB of blanks": lambda: [Sent("/predict", b" " * LONG)],
    "predict: 30 MiB of blanks in a row": lambda: predict(b"[[1,%b2,3]]" % (b" " * LONG)),
    "predict: 8 packed bodies of 30 MiB": lambda: (
        [packed(b'{"model":"plane","inputs":[%b[1,2,3]]}' % (b"[1,2,3]," * (LONG // 8)))] * 8
    ),
    "v2: one long text among numbers": v2_long_text,
    "v2: 30 MiB of escapes": lambda: infer_data(b"[%b]" % ESCAPES),
    "v2: a name of 30 MiB": lambda: infer(b"{%b:1}" % NAME),
    "v2: 30 MiB of blanks": lambda: infer(b" " * LONG),
    "v2: 400,000 inputs": lambda: infer(b",".join([b'{"name":"a","data":[1]}'] * 400_000)),
    "v2: 10,000 rows": v2_numbers,
    "v2: 8 M empty texts": v2_empty_texts,
    "v2: 10 M numbers": lambda: v2(tensor([1] * 10_000_000, [10_000_000])),
    "v2: 900 lists deep": lambda: infer_data(deep(900)),
    "v2: parameters of a million keys": lambda: unknown_keys(
        "/v2/models/plane/infer", '{"inputs":[],"parameters":{"a":1},'
    ),
    "ndjson: 10,000 rows": lambda: lines(*[b"[0.1, 0.2, 0.3]"] * 10_000),
    "ndjson: lines of 2 MiB of [],": lambda: lines(*[b"[" + b"[]," * (2 * MIB // 3) + b"[]]"] * 12),
    "ndjson: a line of 30 MiB of escapes": lambda: lines(b"[%b]" % ESCAPES),
    "ndjson: a name of 30 MiB": lambda: lines(b"{%b:1}" % NAME),
    "ndjson: 30 MiB of blanks in a line": lambda: lines(b"[1,%b2,3]" % (b" " * LONG)),
    "ndjson: lines 1,000 lists deep": lambda: lines(*[deep(1_000)] * 500),
    "jobs: a million unknown keys": lambda: unknown_keys("/jobs"),
    "jobs: 40,000 unknown keys": lambda: unknown_keys("/jobs", count=40_000),
    "jobs: 40,000 bad features": lambda: unknown_keys(
        "/jobs", '{"dataset":{"kind":"synthetic","target":"1","features":{', "}}}", 40_000
    ),
    "jobs: 12,000 features": lambda: features(12_000, "synthetic", {"linspace": [0, 1]}),
    "jobs: 12,000 bad columns": lambda: features(12_000, "upload", "number"),
    "jobs: 4,000 bad columns": lambda: features(4_000, "upload", {"kind": "number"}),
    "jobs: 1,000 lists deep": lambda: [Sent("/jobs", b'{"model":%b}' % deep(1_000))],
    "jobs: a million hidden layers": lambda: [
        Sent("/jobs", b'{"model":{"kind":"mlp","hidden":[%b1]}}' % (b"-1," * 1_000_000))
    ],
    "expressions: a million variables": lambda: unknown_keys(
        "/expressions", '{"expression":"1","variables":{', "}}"
    ),
    "evaluate: a million unknown keys": lambda: unknown_keys("/models/plane/versions/1/evaluate"),
    "image: a PNG of 7000 x 7000": lambda: [
        Sent("/predict?model=dots", png(7000), {"content-type": "image/png"})
    ],
    "image: 8 forms of 6 such": lambda: [form(6)] * 8,
    "image: 8 forms of 4 such": lambda: [form(4)] * 8,
    "image: a zip of such": lambda: [Sent("/datasets", archive(), {})],
}
