"""A trained model gives the same predictions for every form of input."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml.datasets import mnist_files
from tests.conftest import LINE, PLANE
from tests.system.server import Server

COUNT = 200


@pytest.fixture(scope="module")
def digits(mnist_root: Any) -> tuple[np.ndarray, list[int]]:
    """The first test images and their labels."""
    raw = mnist_files.fetch(mnist_files.FAMILIES["mnist"], mnist_root)
    return raw.test_images[:COUNT].numpy(), raw.test_labels[:COUNT].tolist()


@pytest.fixture(scope="module")
def mnist(mnist_job: dict[str, Any]) -> str:
    return "mnist@{version}".format(**mnist_job["model"])


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def drawn(digit: np.ndarray) -> Image.Image:
    """A digit in black on white at 280x280, like a drawing from a web page."""
    return Image.fromarray(255 - digit).resize((280, 280), Image.Resampling.BICUBIC)


def ask(server: Server, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = server.client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def ask_files(server: Server, model: str, files: list[bytes]) -> list[dict[str, Any]]:
    encoded = [base64.b64encode(file).decode() for file in files]
    return ask(server, {"model": model, "images": encoded})


def correct(predictions: list[dict[str, Any]], labels: list[int]) -> int:
    return sum(p["class"] == label for p, label in zip(predictions, labels, strict=True))


def test_png_images_are_as_accurate_as_the_job_reported(
    server: Server,
    mnist: str,
    mnist_job: dict[str, Any],
    digits: tuple[np.ndarray, list[int]],
) -> None:
    images, labels = digits
    answers = ask_files(server, mnist, [png(Image.fromarray(image)) for image in images])
    rows = ask(server, {"model": mnist, "inputs": images.tolist()})
    assert answers == rows
    version = server.client.get("/models/mnist/versions/{version}".format(**mnist_job["model"]))
    reported = version.json()["metrics"]["test_accuracy"]
    # The first test images are easier than the rest, and 200 are a small sample.
    assert correct(answers, labels) / COUNT == pytest.approx(reported, abs=0.03)


def test_dark_on_white_drawings_lose_little_accuracy(
    server: Server, mnist: str, digits: tuple[np.ndarray, list[int]]
) -> None:
    images, labels = digits
    plain = correct(ask(server, {"model": mnist, "inputs": images.tolist()}), labels)
    files = [png(drawn(image)) for image in images]
    assert correct(ask_files(server, mnist, files), labels) >= plain - 0.03 * COUNT


def test_every_image_format_gives_the_same_prediction(
    server: Server, mnist: str, digits: tuple[np.ndarray, list[int]]
) -> None:
    image = digits[0][0]
    file = png(Image.fromarray(image))
    encoded = base64.b64encode(file).decode()
    [expected] = ask(server, {"model": mnist, "inputs": [image.tolist()]})
    flat = image.flatten()
    assert expected["label"] == "7"
    assert sum(expected["probabilities"]) == pytest.approx(1, abs=1e-5)
    for body in (
        {"inputs": [flat.tolist()]},
        {"inputs": [flat.tolist()], "pixels": "0-255"},
        {"images": [encoded]},
        {"images": [f"data:image/png;base64,{encoded}"]},
    ):
        assert ask(server, {"model": mnist} | body) == [expected]
    unit = {"model": mnist, "inputs": [(flat / 255).tolist()], "pixels": "0-1"}
    [scaled] = ask(server, unit)
    assert scaled["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)
    raw = server.client.post(
        "/predict", params={"model": mnist}, content=file, headers={"content-type": "image/png"}
    )
    assert raw.json()["predictions"] == [expected]
    parts = [("file", ("a.png", file)), ("file", ("b.png", file))]
    form = server.client.post("/predict", data={"model": mnist}, files=parts)
    # Batches of two and of one may be summed in different orders: equal up to rounding.
    for answer in form.json()["predictions"]:
        assert answer["class"] == expected["class"]
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)


@pytest.mark.parametrize("is_file", [True, False])
def test_explanation_shows_the_image_that_the_model_saw(
    server: Server, mnist: str, digits: tuple[np.ndarray, list[int]], is_file: bool
) -> None:
    image = digits[0][0]
    body = {"images": [encoded(png(Image.fromarray(255 - image)))]}
    sent = {"model": mnist} | (body if is_file else {"inputs": [image.tolist()]})
    answer = server.client.post("/predict?explain=true", json=sent)
    assert answer.status_code == 200, answer.text
    [prediction] = answer.json()["predictions"]
    seen = Image.open(io.BytesIO(base64.b64decode(prediction.pop("seen"))))
    assert np.array_equal(np.asarray(seen), image)
    assert prediction == ask(server, sent)[0]


def test_explanations_are_of_images_only(server: Server, line: str) -> None:
    answer = server.client.post("/predict?explain=true", json={"model": line, "inputs": [[1]]})
    assert answer.status_code == 422
    assert "explain" in answer.text
    lines = {"content-type": "application/x-ndjson"}
    url = f"/predict?model={line}&explain=true"
    assert server.client.post(url, content=b"[1]", headers=lines).status_code == 422


def test_jpeg_photo_is_classified(
    server: Server, mnist: str, digits: tuple[np.ndarray, list[int]]
) -> None:
    images, labels = digits
    file = io.BytesIO()
    drawn(images[0]).convert("RGB").save(file, "JPEG")
    [answer] = ask_files(server, mnist, [file.getvalue()])
    assert answer["class"] == labels[0]


def test_rows_by_list_and_by_name_are_equal(server: Server) -> None:
    server.run(PLANE | {"name": "surface", "epochs": 400})
    by_list, by_name = ask(
        server,
        {"model": "surface", "inputs": [[0.5, 0.25, 1.0], {"c": 1.0, "a": 0.5, "b": 0.25}]},
    )
    assert by_list == by_name
    assert by_list["value"] == pytest.approx(2 * 0.5 + 3 * 0.25 - 1.5, abs=0.1)


def test_standardized_features_use_raw_values_and_report_raw_weights(server: Server) -> None:
    data = LINE["dataset"] | {"features": {"x": {"uniform": [1000, 5000]}}, "noise": 0.0}
    spec = LINE | {"name": "wide", "dataset": data | {"standardize": True}, "epochs": 400}
    spec["optimizer"] = {"kind": "sgd", "lr": 0.1}
    server.run(spec)
    linear = server.client.get("/models/wide").json()["linear"]
    assert linear["weights"]["x"] == pytest.approx(3, rel=1e-3)
    [answer] = ask(server, {"model": "wide", "inputs": [[2000]]})
    assert answer["value"] == pytest.approx(6002, rel=1e-3)


def test_name_resolves_to_the_newest_version_unless_pinned(server: Server) -> None:
    for slope in (1, 5):
        target = LINE["dataset"] | {"target": f"{slope}*x", "noise": 0.0}
        server.run(LINE | {"name": "slope", "dataset": target, "epochs": 500})
    body = {"inputs": [[10]]}
    newest = server.client.post("/predict", json={"model": "slope"} | body).json()
    older = server.client.post("/predict", json={"model": "slope@1"} | body).json()
    assert (newest["model"], newest["version"]) == ("slope", 2)
    assert newest["predictions"][0]["value"] == pytest.approx(50, rel=0.05)
    assert older["version"] == 1
    assert older["predictions"][0]["value"] == pytest.approx(10, rel=0.05)


def bomb() -> bytes:
    """A PNG of 30,000x30,000 white pixels: 900 MB once decoded, some 100 kB as a file."""
    return png(Image.new("1", (30_000, 30_000), 1))


@pytest.fixture(scope="module")
def line(server: Server) -> str:
    return "{name}@{version}".format(**server.run(LINE | {"name": "bad"})["model"])


def encoded(file: bytes) -> str:
    return base64.b64encode(file).decode()


BLACK = [[0] * 28] * 28


@pytest.mark.parametrize(
    ("of", "body", "status", "loc", "says"),
    [
        ("line", {"inputs": [[1, 2]]}, 422, ["inputs", 0], "1 feature (x)"),
        ("line", {"inputs": [[1], []]}, 422, ["inputs", 1], "1 feature"),
        ("line", {"inputs": [["three"]]}, 422, ["inputs", 0, 0], "'three'"),
        ("line", {"inputs": [{"x": "three"}]}, 422, ["inputs", 0, "x"], "'three'"),
        ("line", {"inputs": [{"y": 3}]}, 422, ["inputs", 0], "is missing"),
        ("line", {"inputs": [{"x": 3, "y": 3}]}, 422, ["inputs", 0, "y"], "unknown"),
        ("line", {"inputs": [[None]]}, 422, ["inputs", 0, 0], "null"),
        ("line", {"inputs": [3]}, 422, ["inputs", 0], "row of 1 feature"),
        ("line", {"inputs": [[[[3]]]]}, 422, ["inputs", 0], "1x1x1"),
        ("line", {"inputs": [[10**400]]}, 422, ["inputs", 0, 0], "finite"),
        ("line", {"inputs": []}, 422, ["inputs"], "empty"),
        ("line", {"inputs": "all"}, 422, ["inputs"], "array"),
        ("line", {}, 422, [], "exactly one of"),
        ("line", {"inputs": [[1]], "images": []}, 422, [], "exactly one of"),
        ("line", {"inputs": [[1]] * 10_001}, 413, None, "10,000"),
        ("line", {"images": [encoded(b"x")]}, 422, ["images"], "takes the features x"),
        ("mnist", {"inputs": [[0] * 783]}, 422, ["inputs", 0], "783"),
        ("mnist", {"inputs": [BLACK, BLACK[:-1]]}, 422, ["inputs", 1], "27x28"),
        ("mnist", {"inputs": [[[256] * 28] * 28]}, 422, ["inputs", 0], "0 to 255"),
        ("mnist", {"inputs": [[-1] * 784]}, 422, ["inputs", 0], "0 to 255"),
        ("mnist", {"inputs": [[0.5] * 784]}, 422, ["inputs", 0], '"pixels": "0-1"'),
        ("mnist", {"inputs": [[2] * 784], "pixels": "0-1"}, 422, ["inputs", 0], "0 to 1"),
        ("mnist", {"inputs": [BLACK], "pixels": "0-9"}, 422, ["pixels"], "0-255"),
        ("mnist", {"images": ["!!"]}, 422, ["images", 0], "base64"),
        ("mnist", {"images": ["é"]}, 422, ["images", 0], "base64"),
        ("mnist", {"images": [encoded(b"%PDF-1.7")]}, 422, ["images", 0], "PNG"),
        ("mnist", {"images": [encoded(bomb())]}, 422, ["images", 0], "30000"),
        (
            "mnist",
            {"images": [encoded(png(Image.linear_gradient("L"))[:300])]},
            422,
            ["images", 0],
            "truncated",
        ),
    ],
)
def test_invalid_requests_are_refused(
    request: pytest.FixtureRequest,
    server: Server,
    of: str,
    body: dict[str, Any],
    status: int,
    loc: list[str | int] | None,
    says: str,
) -> None:
    model = request.getfixturevalue(of)
    response = server.client.post("/predict", json={"model": model} | body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    if loc is None:
        assert says in problem["detail"]
    else:
        [error] = problem["errors"]
        assert error["loc"] == ["body", *loc]
        assert says in error["msg"]


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_non_finite_numbers_are_refused(server: Server, line: str, token: str) -> None:
    content = f'{{"model": "{line}", "inputs": [[1], [{token}]]}}'
    headers = {"content-type": "application/json"}
    response = server.client.post("/predict", content=content, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "inputs", 1, 0]
    assert "finite" in response.json()["detail"]


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("nothing", 404),
        ("bad@99", 404),
        ("bad@newest", 404),
        ("bad@a b", 422),
        ("@", 422),
        ("", 422),
        (3, 422),
    ],
)
def test_unknown_models_are_not_found(
    server: Server, line: str, reference: Any, status: int
) -> None:
    response = server.client.post("/predict", json={"model": reference, "inputs": [[1]]})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "text/csv"}, b"1,2", 415),
        ({}, b"1,2", 415),
        ({"content-type": "application/json"}, b"{", 400),
        ({"content-type": "application/json"}, b"[" * 100_000, 400),
        ({"content-type": "image/png"}, b"x", 422),
        ({"content-type": "multipart/form-data"}, b"x", 400),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b--", 422),
    ],
)
def test_bodies_must_match_their_content_type(
    server: Server, headers: dict[str, str], content: bytes, status: int
) -> None:
    response = server.client.post("/predict", content=content, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
