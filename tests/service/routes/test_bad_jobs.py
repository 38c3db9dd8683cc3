"""Invalid submissions get the right 4xx and a problem document that locates the mistake."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import LINE

MNIST: dict[str, Any] = {"dataset": {"kind": "mnist"}}


def line(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(LINE) | changes


def line_data(**changes: Any) -> dict[str, Any]:
    return line(dataset=LINE["dataset"] | changes)


CASES: list[tuple[dict[str, Any], list[str | int], str]] = [
    ({}, ["dataset"], "required"),
    (
        {"dataset": {"kind": "imagenet"}},
        ["dataset"],
        "unknown 'kind' 'imagenet'; known: 'syn",
    ),
    (MNIST | {"model": {"kind": "transformer"}}, ["model"], "'mlp'"),
    (MNIST | {"optimizer": {"kind": "lion"}}, ["optimizer"], "'adam'"),
    (MNIST | {"device": "tpu"}, ["device"], "must be auto (a GPU"),
    (MNIST | {"device": "cuda:77"}, ["device"], "not a usable CUDA device"),
    (MNIST | {"epochs": 0}, ["epochs"], "greater than or equal to 1"),
    (MNIST | {"epochs": -1}, ["epochs"], "greater than or equal to 1"),
    (MNIST | {"epochs": 1e9}, ["epochs"], "integer"),
    (MNIST | {"epochs": 10**9}, ["epochs"], "less than or equal to 1000000"),
    (MNIST | {"epochs": "10"}, ["epochs"], "integer"),
    (MNIST | {"epochs": True}, ["epochs"], "integer"),
    (MNIST | {"optimizer": {"kind": "adam", "lr": "NaN"}}, ["optimizer", "lr"], "number"),
    (MNIST | {"optimizer": {"kind": "adam", "lr": 0}}, ["optimizer", "lr"], "greater than 0"),
    (
        MNIST | {"optimizer": {"kind": "sgd", "nesterov": True}},
        ["optimizer"],
        "nesterov needs a momentum",
    ),
    (MNIST | {"model": {"kind": "mlp", "hidden": [10**12]}}, ["model", "hidden", 0], "1000000"),
    (MNIST | {"model": {"kind": "mlp", "hidden": []}}, ["model", "hidden"], "at least 1"),
    (MNIST | {"model": {"kind": "mlp", "dropout": 1.0}}, ["model", "dropout"], "equal to 0.999"),
    (
        MNIST | {"model": {"kind": "mlp", "dropout": [0.999999, 0]}},
        ["model", "dropout", 0],
        "less than or equal to 0.999",
    ),
    (MNIST | {"model": {"kind": "cnn", "dropout": 0.999999}}, ["model", "dropout"], "0.999"),
    (MNIST | {"optimizer": {"kind": "adam", "eps": 1e-50}}, ["optimizer", "eps"], "1e-30"),
    (
        MNIST | {"model": {"kind": "torchvision", "name": "resnet18"}, "batch_size": 59_999},
        ["batch_size"],
        "batch normalisation needs at least two",
    ),
    (MNIST | {"threads": 0}, ["threads"], "greater than or equal to 1"),
    (MNIST | {"model": {"kind": "mlp", "dropout": "a lot"}}, ["model", "dropout"], "number"),
    (MNIST | {"model": {"kind": "mlp", "dropout": [0.1]}}, ["model"], "2 hidden layers"),
    (
        MNIST | {"model": {"kind": "mlp", "hidden": [1_000_000, 1_000]}},
        ["model"],
        "allows 100,000,000",
    ),
    (MNIST | {"loss": "mse"}, ["loss"], "use cross_entropy"),
    (MNIST | {"loss": {"kind": "huber", "delta": 0}}, ["loss", "delta"], "greater than or equal"),
    (MNIST | {"class_weights": "balanced"}, ["class_weights"], "class_weights belongs in loss"),
    (
        MNIST | {"loss": {"kind": "cross_entropy", "class_weights": {"0": 1, "ten": 1}}},
        ["loss", "class_weights"],
        "no class is called 'ten'; the classes are '0', '1',",
    ),
    (
        MNIST | {"loss": {"kind": "cross_entropy", "class_weights": {"0": 2}}},
        ["loss", "class_weights"],
        "has no weight for '1', '2',",
    ),
    (
        MNIST | {"loss": {"kind": "cross_entropy", "class_weights": {"0": -2}}},
        ["loss", "class_weights", "0"],
        "greater than or equal",
    ),
    (
        MNIST | {"loss": {"kind": "cross_entropy", "label_smoothing": 1}},
        ["loss", "label_smoothing"],
        "less than 1",
    ),
    (
        MNIST | {"loss": {"kind": "cross_entropy", "class_weights": ["0"]}},
        ["loss", "class_weights"],
        'must be "balanced"',
    ),
    (MNIST | {"augment": [{"rotate": 181}]}, ["augment", 0, "rotate"], "less than or equal to 180"),
    (MNIST | {"augment": [{"crop": 28}]}, ["augment", 0, "crop"], "must be less than 28"),
    (MNIST | {"augment": ["rotate"]}, ["augment", 0], "rotate needs a number"),
    (MNIST | {"augment": "flip"}, ["augment"], "valid list"),
    (MNIST | {"schedule": {"kind": "cosine", "warmup": 1}}, ["schedule", "warmup"], "less than 1"),
    (MNIST | {"optimizer": {"kind": "rmsprop", "alpha": 1}}, ["optimizer", "alpha"], "less than"),
    (MNIST | {"name": "../../etc"}, ["name"], "not '../../etc'"),
    (MNIST | {"name": ""}, ["name"], "1 to 64 letters"),
    (MNIST | {"epoch": 3}, ["epoch"], "did you mean epochs?"),
    (MNIST | {"batchsize": 3}, ["batchsize"], "did you mean batch_size?"),
    (MNIST | {"learning_rate": 1}, ["learning_rate"], "did you mean lr in optimizer?"),
    (MNIST | {"zzz": 3}, ["zzz"], "known: after, augment, average, batch_size"),
    (
        MNIST | {"average": {"kind": "ema", "decay": 1.0}},
        ["average", "decay"],
        "less than 1",
    ),
    (
        MNIST | {"average": {"kind": "swa", "decay": 0.9}},
        ["average", "decay"],
        "field of ema",
    ),
    (MNIST | {"max_seconds": 0}, ["max_seconds"], "greater than 0"),
    (
        MNIST | {"test_every": -1},
        ["test_every"],
        "greater than or equal to 0",
    ),
    (
        MNIST | {"snapshot_every": 5},
        ["snapshot_every"],
        "regression of one number",
    ),
    (MNIST | {"lr": 0.1}, ["lr"], "lr belongs in optimizer"),
    (MNIST | {"hidden": [8]}, ["hidden"], "hidden belongs in model"),
    (MNIST | {"gamma": 0.1}, ["gamma"], "gamma belongs in schedule"),
    (MNIST | {"validation": 0.1}, ["validation"], "validation belongs in split"),
    (
        MNIST | {"optimizer": {"kind": "sgd", "beta1": 0.9}},
        ["optimizer", "beta1"],
        "beta1 is a field of adam and adamw, not of sgd",
    ),
    (
        MNIST | {"optimizer": {"kind": "adam", "priority": 3}},
        ["optimizer", "priority"],
        "priority belongs beside optimizer, not in it",
    ),
    (
        MNIST | {"model": {"kind": "mlp", "lr": 3}},
        ["model", "lr"],
        "lr belongs in optimizer, not in model",
    ),
    (MNIST | {"optimizer": {"lr": 0.1}}, ["optimizer"], "one of adam, adamw, sgd, rmsprop"),
    (MNIST | {"optimizer": "adma"}, ["optimizer"], "did you mean 'adam'?"),
    (MNIST | {"model": "torchvision"}, ["model"], '{"kind": "torchvision", "name": …}'),
    ({"dataset": "synthetic"}, ["dataset"], "synthetic needs features and target"),
    (MNIST | {"model": 3}, ["model"], "valid dictionary"),
    (
        MNIST | {"model": {"kind": "sequential", "layers": ["flatten", {"lineer": 3}]}},
        ["model", "layers", 1],
        "layer 2: unknown layer 'lineer'; did you mean linear?",
    ),
    (
        MNIST
        | {
            "model": {
                "kind": "sequential",
                "layers": [{"residual": ["relu", {"conv2d": 3, "kernel_size": 0}]}],
            }
        },
        ["model", "layers", 0, "residual", 1, "kernel_size"],
        "layer 1.2 (conv2d): kernel_size: input should be greater than or equal to 1",
    ),
    (
        MNIST
        | {
            "model": {
                "kind": "sequential",
                "layers": ["flatten", {"linear": 64}, {"conv2d": 8, "kernel_size": 3}],
            }
        },
        ["model", "layers", 2],
        "layer 3 (conv2d): takes images of channels x height x width, and gets 64 numbers, since "
        "layer 1 flattens; put it before flatten",
    ),
    (
        MNIST
        | {"model": {"kind": "sequential", "layers": ["flatten"] + [{"linear": 100_000}] * 2}},
        ["model"],
        "allows 100,000,000",
    ),
    (
        MNIST
        | {
            "batch_size": 50_000,
            "model": {
                "kind": "sequential",
                "layers": [
                    {"conv2d": 100_000, "kernel_size": 1},
                    {"adaptive_avg_pool2d": 1},
                    "flatten",
                ],
            },
        },
        ["batch_size"],
        "use a smaller batch_size or model",
    ),
    (MNIST | {"seed": 2**64}, ["seed"], "less than"),
    (MNIST | {"split": {"validation": 0.6, "test": 0.6}}, ["split"], "leave rows"),
    (MNIST | {"split": {"test": 0.1}}, ["split"], "its own test split"),
    (line(split={"validation": 0.001}), ["split"], "of 100 rows is none"),
    (MNIST | {"priority": 10**6}, ["priority"], "less than or equal to 1000"),
    (MNIST | {"not_before": "2026-11-24T08:00:00"}, ["not_before"], "timezone"),
    (MNIST | {"not_before": "tomorrow"}, ["not_before"], "valid datetime"),
    (MNIST | {"timeout_seconds": 0}, ["timeout_seconds"], "greater than 0"),
    (MNIST | {"max_attempts": 0}, ["max_attempts"], "greater than or equal to 1"),
    (MNIST | {"schedule": {"kind": "linear"}}, ["schedule"], "'one_cycle'"),
    (line_data(target="__import__('os')"), ["dataset", "target"], "__import__"),
    (line_data(target="3*z + 2"), ["dataset", "target"], "'z'"),
    (line_data(target="3x + 2"), ["dataset", "target"], "write 3*x"),
    (line_data(target="x < 5"), ["dataset"], "leave noise out"),
    (line_data(target="2*(x < 5)"), ["dataset", "target"], "write where(x < 5, 1, 0)"),
    (
        line(
            dataset=LINE["dataset"] | {"target": "x < 5", "noise": 0.0}, loss="mse", model="linear"
        ),
        ["loss"],
        "use cross_entropy",
    ),
    (line_data(target="(" * 10**5 + "x" + ")" * 10**5), ["dataset", "target"], "at most 1000"),
    (line_data(target="(" * 400 + "x" + ")" * 400), ["dataset", "target"], "nest"),
    (line_data(target="9**9**9"), ["dataset", "target"], "9"),
    (line_data(target="x.__class__"), ["dataset", "target"], "x.__class__"),
    (line_data(target=""), ["dataset", "target"], "empty"),
    (line_data(target=3), ["dataset", "target"], "string"),
    (line_data(features={}), ["dataset", "features"], "at least 1"),
    (line_data(features={"x y": {"uniform": [0, 1]}}), ["dataset", "features"], "x y"),
    (line_data(features={"x": {}}), ["dataset", "features", "x"], "exactly one of"),
    (
        line_data(features={"x": {"uniform": [1, 0]}}),
        ["dataset", "features", "x"],
        "low < high",
    ),
    (
        line_data(features={"x": {"uniform": [0, "one"]}}),
        ["dataset", "features", "x", "uniform", 1],
        "number",
    ),
    (line_data(size=10**12), ["dataset", "size"], "10000000"),
    (
        line_data(
            size=10_000_000,
            features={f"f{i}": {"uniform": [0, 1]} for i in range(11)},
            target="f1",
        ),
        ["dataset"],
        "100,000,000",
    ),
]


@pytest.mark.parametrize(
    ("body", "loc", "says"), CASES, ids=[f"{'.'.join(map(str, c[1]))}-{c[2][:12]}" for c in CASES]
)
def test_invalid_spec_is_refused(
    client: TestClient, body: Any, loc: list[str | int], says: str
) -> None:
    response = client.post("/jobs", json=body)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == 422
    [error] = problem["errors"]
    assert error["loc"] == ["body", *loc]
    assert says in error["msg"]
    assert client.get("/jobs").json()["data"] == []


def test_all_errors_are_reported_at_once(client: TestClient) -> None:
    body = MNIST | {"epochs": 0, "batch_size": 0, "seed": -1}
    problem = client.post("/jobs", json=body).json()
    assert [e["loc"][-1] for e in problem["errors"]] == ["epochs", "batch_size", "seed"]
    assert "2 more" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        '{"dataset": {"kind": "mnist"}, "optimizer": {"kind": "adam", "lr": NaN}}',
        '{"dataset": {"kind": "mnist"}, "optimizer": {"kind": "adam", "lr": Infinity}}',
        '{"dataset": {"kind": "mnist"}, "optimizer": {"kind": "adam", "lr": 1e400}}',
    ],
)
def test_nan_and_infinity_are_refused(client: TestClient, body: str) -> None:
    response = client.post("/jobs", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "optimizer", "lr"]
    assert "finite" in response.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"\xff\xfe", b"[" * 40_000, b'{"epochs": ' + b"9" * 5000 + b"}"],
    ids=["cut off", "empty", "not utf-8", "too deep", "too long a number"],
)
def test_malformed_json_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/jobs", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_json_requires_its_content_type(client: TestClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    response = client.post("/jobs", content=b'{"dataset": {"kind": "mnist"}}', headers=form)
    assert response.status_code == 415
    assert "content-type: application/json" in response.json()["detail"]


def announced(size: int) -> bytes:
    return b" " * size


def in_chunks(size: int) -> Any:
    return (b" " * 65536 for _ in range(size // 65536))


@pytest.mark.parametrize("body", [announced, in_chunks])
@pytest.mark.parametrize("path", ["/jobs", "/predict"])
def test_body_over_the_limit_is_refused(
    client: TestClient, body: Callable[[int], Any], path: str
) -> None:
    headers = {"content-type": "application/json"}
    response = client.post(path, content=body(33 * 1024 * 1024), headers=headers)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert "33,554,432 bytes" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/jobs/job_x", 404),
        ("GET", "/jobs/job_x/metrics", 404),
        ("GET", "/jobs/job_x/logs", 404),
        ("GET", "/jobs/job_x/attempts", 404),
        ("GET", "/jobs/job_x/events", 404),
        ("POST", "/jobs/job_x/pause", 404),
        ("POST", "/jobs/job_x/retry", 404),
        ("DELETE", "/jobs/job_x", 404),
        ("POST", "/jobs/job_x/cancel", 404),
        ("GET", "/jobs?after=job_x", 422),
        ("GET", "/jobs?status=lost", 422),
        ("GET", "/jobs?limit=0", 422),
        ("GET", "/jobs?limit=9999999", 422),
        ("GET", "/models/nothing", 404),
        ("GET", "/models/nothing/versions/1", 404),
        ("GET", "/models/nothing/versions/zero", 422),
        ("GET", "/models/nothing/versions/99999999999999999999", 422),
        ("GET", "/nowhere", 404),
        ("DELETE", "/jobs", 405),
    ],
)
def test_other_invalid_requests_are_refused(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
