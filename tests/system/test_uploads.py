"""Uploaded data: stored, trained on, and predicted from raw values."""

import io
import random
import socket
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.system.server import Server


def houses(count: int = 300) -> str:
    """A table of houses: numbers, a boolean, a category, gaps, and a price computed from them."""
    draw = random.Random(0)
    lines = ["rooms,area,lift,district,price"]
    for _ in range(count):
        rooms, lift = draw.randint(1, 6), draw.random() < 0.5
        district = draw.choice(["Altstadt", "Wiedikon", "Oerlikon"])
        area = 25 * rooms + draw.randint(-10, 10)
        bonus = {"Altstadt": 400_000, "Wiedikon": 150_000, "Oerlikon": 0}[district]
        price = 100_000 + 8_000 * area + 50_000 * lift + bonus
        has_lift = "" if draw.random() < 0.1 else str(lift).lower()
        lines.append(f"{rooms},{area},{has_lift},{district},{price}")
    return "\n".join(lines)


def upload(server: Server, content: bytes | str, **params: Any) -> str:
    response = server.client.post("/datasets", content=content, params=params)
    assert response.status_code in (200, 201), response.text
    dataset_id: str = response.json()["id"]
    return dataset_id


def train(server: Server, dataset: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return server.run({"dataset": {"kind": "upload"} | dataset, "model": "linear"} | rest)


def predict(server: Server, model: str, rows: list[Any]) -> httpx.Response:
    return server.client.post("/predict", json={"model": model, "inputs": rows})


@pytest.fixture(scope="module")
def priced(server: Server) -> str:
    """The id of the data set of houses; its model is named `houses`."""
    dataset_id = upload(server, houses(), name="houses", target="price")
    job = train(
        server,
        {"id": dataset_id},
        optimizer={"kind": "adam", "lr": 0.05},
        schedule={"kind": "cosine"},
        epochs=60,
        batch_size=32,
    )
    assert job["metrics"]["test_r2"] > 0.97
    assert job["metrics"]["test_mae"] < 40_000, "in the units of the data"
    return dataset_id


def test_table_model_predicts_from_raw_values(server: Server, priced: str) -> None:
    house = {"rooms": 4, "area": 100, "lift": True, "district": "Altstadt"}
    response = predict(server, "houses", [house, list(house.values())])
    assert response.status_code == 200, response.text
    by_name, by_order = (p["value"] for p in response.json()["predictions"])
    assert by_name == by_order == pytest.approx(1_350_000, rel=0.08)
    odd = [house | {"lift": None}, house | {"district": "Mars"}]
    assert predict(server, "houses", odd).status_code == 200
    for wrong, where in (
        ({"rooms": 4}, "is missing 3 features"),
        (house | {"garden": 1}, "garden"),
        (house | {"area": "large"}, "area"),
    ):
        refused = predict(server, "houses", [wrong])
        assert (refused.status_code, where in refused.json()["detail"]) == (422, True)
    model = server.client.get("/models/houses").json()
    weights = model["linear"]["weights"]
    assert weights["area"] * 25 + weights["rooms"] == pytest.approx(200_000, rel=0.15)
    assert {"district=Altstadt", "district=Oerlikon", "lift", "lift is missing"} < set(weights)
    assert len(model["lineage"]["data_sha256"]) == 64


def test_constant_columns_have_no_effect_and_a_warning(server: Server) -> None:
    rows = "\n".join(f"2024,100,{'red' if x % 3 else ''},{x},{2 * x + 1}" for x in range(60))
    dataset_id = upload(server, f"year,limit,colour,x,y\n{rows}", name="constants", target="y")
    for model in ({"kind": "linear"}, {"kind": "mlp", "hidden": [16]}):
        job = train(
            server,
            {"id": dataset_id},
            model=model,
            optimizer={"kind": "adam", "lr": 0.05},
            epochs=150,
            batch_size=32,
        )
        constant = [w["column"] for w in job["warnings"] if w["kind"] == "constant"]
        assert constant == ["year", "limit", "colour"]
        lines = server.client.get(f"/jobs/{job['id']}/logs").json()["data"]
        logged = [line["message"] for line in lines if line["level"] == "warning"]
        assert logged == [warning["message"] for warning in job["warnings"]]
        usual = [2024, 100, "red", 3]
        odd = ([2024, None, "red", 3], [2024, 50_000, "red", 3], [-1e30, 100, "blue", 3])
        answers = [
            predict(server, "constants", [row]).json()["predictions"][0]["value"]
            for row in (usual, *odd)
        ]
        assert answers[0] == pytest.approx(7, abs=0.5)
        assert answers == answers[:1] * 4
    model = server.client.get("/models/constants/versions/1").json()
    assert model["inputs"]["encoding"]["masked"] == ["year", "limit", "colour"]
    weights = model["linear"]["weights"]
    assert (weights["year"], weights["limit"], weights["colour=red"]) == (0, 0, 0)


def test_categorical_model_serves_the_open_inference_protocol(server: Server, priced: str) -> None:
    with triton.InferenceServerClient(server.client.base_url.netloc.decode()) as client:
        inputs = client.get_model_metadata("houses")["inputs"]
        assert [(i["name"], i["datatype"]) for i in inputs] == [
            ("rooms", "FP64"),
            ("area", "FP64"),
            ("lift", "BOOL"),
            ("district", "BYTES"),
        ]
        columns: list[tuple[str, str, Any]] = [
            ("rooms", "FP32", np.array([[4], [2]], np.float32)),
            ("area", "FP32", np.array([[100], [50]], np.float32)),
            ("lift", "BOOL", np.array([[True], [False]])),
            ("district", "BYTES", np.array([["Altstadt"], [""]], object)),
        ]
        rows = [[4, 100, True, "Altstadt"], [2, 50, False, None]]
        expected = [p["value"] for p in predict(server, "houses", rows).json()["predictions"]]
        for binary in (True, False):
            tensors = []
            for name, datatype, values in columns:
                tensor = triton.InferInput(name, list(values.shape), datatype)
                tensor.set_data_from_numpy(values, binary_data=binary)
                tensors.append(tensor)
            answer = client.infer("houses", tensors).as_numpy("value")
            assert answer is not None
            np.testing.assert_allclose(answer[:, 0], expected, rtol=1e-5)


def test_predictions_match_the_evaluation(server: Server, priced: str) -> None:
    path = "/models/houses/versions/1/evaluate"
    preview = server.client.get(f"/datasets/{priced}/preview", params={"rows": 1000}).json()
    rows = [dict(zip(preview["columns"], row, strict=True)) for row in preview["rows"]]
    prices = [row.pop("price") for row in rows]
    answers = predict(server, "houses", rows).json()["predictions"]
    errors = [abs(p["value"] - price) for p, price in zip(answers, prices, strict=True)]
    measured = server.client.post(path, json={"split": "all"}).json()
    assert measured["rows"] == len(rows)
    assert measured["mae"] == pytest.approx(sum(errors) / len(errors), rel=1e-6)
    assert measured["max_error"] == pytest.approx(max(errors), rel=1e-6)
    # The same rows as another upload, with reordered columns and an unused one.
    lines = [line.split(",") for line in houses().splitlines()]
    mixed = "\n".join(",".join([*reversed(line), "note"[: i + 1]]) for i, line in enumerate(lines))
    other = upload(server, mixed, name="mixed")
    request = {"dataset": {"kind": "upload", "id": other}, "split": "all"}
    again = server.client.post(path, json=request)
    assert again.status_code == 200, again.text
    assert again.json()["mae"] == pytest.approx(measured["mae"], rel=1e-6)


def test_cross_validation_of_an_upload(server: Server, priced: str, tmp_path: Path) -> None:
    spec = {
        "name": "folded",
        "dataset": {"kind": "upload", "id": priced, "target": "district"},
        "model": {"kind": "mlp", "hidden": [16]},
        "optimizer": {"kind": "adam", "lr": 0.02},
        "split": {"folds": 4, "stratify": True},
        "epochs": 20,
    }
    job = server.run(spec)
    folds = server.client.get(f"/jobs/{job['id']}/metrics", params={"level": "fold"}).json()["data"]
    accuracies = [fold["values"]["accuracy"] for fold in folds]
    assert [fold["epoch"] for fold in folds] == [1, 2, 3, 4]
    assert job["metrics"]["cv_accuracy"] == pytest.approx(np.mean(accuracies))
    assert job["metrics"]["cv_accuracy_std"] == pytest.approx(np.std(accuracies))
    assert "test_accuracy" in job["metrics"]
    assert job["progress"]["step"] == job["progress"]["steps"] == 20 * 4
    whole = spec | {"split": {"stratify": True}}
    assert server.outcome(server.run(whole))[0] == server.outcome(job)[0]


def test_data_set_of_a_model_is_deleted_only_by_force(server: Server) -> None:
    rows = "x,y\n" + "\n".join(f"{x},{2 * x}" for x in range(40))
    dataset_id = upload(server, rows, name="doubled", target="y")
    train(server, {"id": dataset_id}, epochs=1)
    refused = server.client.delete(f"/datasets/{dataset_id}")
    assert (refused.status_code, "'doubled'" in refused.json()["detail"]) == (409, True)
    forced = server.client.delete(f"/datasets/{dataset_id}", params={"force": True})
    assert forced.status_code == 204
    assert predict(server, "doubled", [[3]]).status_code == 200


@pytest.mark.parametrize("kind", ["text/csv", "multipart/form-data; boundary=x"])
def test_interrupted_upload_leaves_no_files(server: Server, data_dir: Path, kind: str) -> None:
    incoming = data_dir / "datasets" / "uploads" / ".incoming"
    before = server.client.get("/datasets").json()
    host, port = server.client.base_url.host, server.client.base_url.port
    assert port is not None
    with socket.create_connection((host, port)) as connection:
        connection.sendall(
            f"POST /datasets HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
            "content-length: 1000000\r\n\r\n--x\r\n".encode()
        )
        # The service creates a folder once it begins to receive the upload.
        while not list(incoming.iterdir()):
            server.client.get("/health/live")
    while list(incoming.iterdir()):
        server.client.get("/health/live")
    assert server.client.get("/datasets").json() == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="open files are visible on Linux only")
def test_form_upload_is_spooled_to_the_data_directory(server: Server, data_dir: Path) -> None:
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    incoming = (data_dir / "datasets" / "uploads" / ".incoming").resolve()
    host, port = server.client.base_url.host, server.client.base_url.port
    assert port is not None
    with socket.create_connection((host, port)) as connection:
        connection.sendall(
            b"POST /datasets HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\n"
            b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            b'content-disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
            + b"1,2\n"
            * 1_000_000
        )
        while not any(is_spooled(one, incoming) for one in descriptors.iterdir()):
            server.client.get("/health/live")


def is_spooled(descriptor: Path, directory: Path) -> bool:
    """Return whether an unnamed file in the directory is open."""
    try:
        target = str(descriptor.readlink())
    except FileNotFoundError:  # closed meanwhile
        return False
    return target.startswith(f"{directory}/") and target.endswith("(deleted)")


def shapes() -> bytes:
    """A zip of drawn squares and circles in folders."""
    draw, file = random.Random(0), io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(80):
            for shape in ("circle", "square"):
                archive.writestr(f"{shape}/{index}.png", drawn(shape, draw))
    return file.getvalue()


def drawn(shape: str, draw: random.Random) -> bytes:
    image = Image.new("RGB", (24, 24), (draw.randint(180, 255), 220, 240))
    x, y, r = draw.randint(9, 14), draw.randint(9, 14), draw.randint(5, 8)
    pen, box = ImageDraw.Draw(image), (x - r, y - r, x + r, y + r)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=(200, draw.randint(0, 90), 30))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_uploaded_images_are_classified(server: Server) -> None:
    dataset_id = upload(server, shapes(), name="shapes")
    job = train(
        server,
        {"id": dataset_id},
        model={"kind": "cnn", "channels": [16, 32], "hidden": [32], "dropout": 0.0},
        optimizer={"kind": "adam", "lr": 0.005},
        epochs=15,
        batch_size=16,
        split={"stratify": True},
    )
    assert job["metrics"]["test_accuracy"] > 0.9
    unseen = random.Random(99)
    for shape in ("circle", "square"):
        answers = [
            server.client.post(
                "/predict",
                params={"model": "shapes"},
                content=drawn(shape, unseen),
                headers={"content-type": "image/png"},
            ).json()["predictions"][0]["label"]
            for _ in range(10)
        ]
        assert answers.count(shape) >= 8


VALUES = {
    "number": st.integers(-1000, 1000).map(str) | st.floats(-1e3, 1e3).map(repr),
    "truth": st.sampled_from(["true", "false"]),
    "word": st.sampled_from(["red", "green", "blue", "très bleu", "1st", "a,b", 'say "x"']),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=2, max_size=5))
    size = draw(st.integers(8, 25))
    gaps = draw(st.booleans())
    cells = [VALUES[k] | st.just("") if gaps else VALUES[k] for k in kinds]
    rows = draw(st.lists(st.tuples(*cells), min_size=size, max_size=size))
    return [f"{k} {i}" for i, k in enumerate(kinds)], [list(row) for row in rows]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_any_table_is_trained_on_or_refused(
    server: Server, table: tuple[list[str], list[list[str]]]
) -> None:
    header, rows = table
    quoted = [",".join('"' + c.replace('"', '""') + '"' for c in r) for r in [header, *rows]]
    response = server.client.post("/datasets", content="\n".join(quoted), params={"name": "any"})
    assert response.status_code in (200, 201, 422), response.text
    if response.status_code == 422:
        return
    dataset_id = response.json()["id"]
    spec = {
        "dataset": {"kind": "upload", "id": dataset_id, "target": header[-1]},
        "model": "linear",
        "epochs": 1,
        "split": {"test": 0.0},
    }
    response = server.client.post("/jobs", json=spec)
    assert response.status_code in (202, 422), response.text
    if response.status_code == 422:
        return
    job = server.wait(response.json()["id"])
    assert job["status"] == "succeeded", job["error"]
    columns = response.json()["spec"]["dataset"]["resolved"]["view"]["features"]
    preview = server.client.get(f"/datasets/{dataset_id}/preview", params={"rows": 100}).json()
    inputs = [
        {name: value for name, value in zip(header, row, strict=True) if name in columns}
        for row in preview["rows"]
        if row[-1] is not None
    ]
    version = job["model"]["version"]
    answered = predict(server, f"any@{version}", inputs)
    assert answered.status_code == 200, answered.text
    predictions = answered.json()["predictions"]
    targets = [row[-1] for row in preview["rows"] if row[-1] is not None]
    measured = server.client.post(f"/models/any/versions/{version}/evaluate", json={}).json()
    assert measured["rows"] == len(predictions) == len(targets)
    if "mae" in measured:
        pairs = zip(predictions, targets, strict=True)
        errors = [abs(p["value"] - target) for p, target in pairs]
        assert measured["mae"] == pytest.approx(np.mean(errors), rel=1e-4, abs=1e-4)
    else:
        labels = [str(t).lower() if isinstance(t, bool) else t for t in targets]
        right = [p["label"] == label for p, label in zip(predictions, labels, strict=True)]
        assert measured["accuracy"] == pytest.approx(np.mean(right))
