"""Uploads over HTTP, without a trainer."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from service.app import create_app
from service.settings import Settings

FRUIT = b"weight,ripe,colour,price\n100,true,red,1.0\n110,false,green,1.1\n120,true,,1.25\n"
CSV = {"content-type": "text/csv"}


def send(client: TestClient, body: bytes = FRUIT, **params: Any) -> Response:
    return client.post("/datasets", content=body, headers=CSV, params=params)


def sent(client: TestClient, body: bytes = FRUIT, **params: Any) -> dict[str, Any]:
    response = send(client, body, **params)
    assert response.status_code in (200, 201), response.text
    dataset: dict[str, Any] = response.json()
    return dataset


def stored(settings: Settings) -> list[str]:
    """Return the names of all upload files on disk, complete or not."""
    return sorted(
        path.name
        for path in (*settings.uploads_dir.iterdir(), *settings.incoming_dir.iterdir())
        if path != settings.incoming_dir
    )


def test_uploaded_table_is_described_by_its_columns(client: TestClient) -> None:
    response = send(client, name="fruit", target="price")
    assert response.status_code == 201
    dataset = response.json()
    assert response.headers["location"] == f"/datasets/{dataset['id']}"
    assert dataset["id"].startswith("ds_")
    assert (dataset["name"], dataset["target"], dataset["bytes"]) == ("fruit", "price", len(FRUIT))
    assert dataset["sha256"] == hashlib.sha256(FRUIT).hexdigest()
    assert (dataset["contents"]["kind"], dataset["contents"]["rows"]) == ("table", 3)
    weight, ripe, colour, price = dataset["contents"]["columns"]
    assert weight["mean"] == pytest.approx(110)
    assert (ripe["kind"], ripe["true"]) == ("boolean", 2)
    assert [c["value"] for c in colour["categories"]] == ["green", "red"]
    assert (colour["missing"], price["max"]) == (1, 1.25)
    assert client.get(f"/datasets/{dataset['id']}").json() == dataset
    summary = {key: dataset[key] for key in ("id", "name", "owner", "target", "sha256", "bytes")}
    summary |= {"kind": "table", "rows": 3, "created_at": dataset["created_at"]}
    assert client.get("/datasets").json() == {"data": [summary], "next": None}


def test_form_upload_is_named_after_its_file(client: TestClient) -> None:
    response = client.post("/datasets", files={"file": ("my fruit.v2.csv", FRUIT, "text/csv")})
    assert response.status_code == 201, response.text
    assert response.json()["name"] == "my-fruit"
    empty = client.post("/datasets", files={"file": ("a.csv", b"")})
    assert (empty.status_code, "empty" in empty.json()["detail"]) == (422, True)
    none = client.post("/datasets", data={"note": "no file"}, files={})
    assert none.status_code == 422
    form = {"content-type": "multipart/form-data; boundary=x"}
    nothing = client.post("/datasets", content=b"--x--\r\n", headers=form)
    assert (nothing.status_code, "no file" in nothing.json()["detail"]) == (400, True)


def test_fields_of_a_form_count_like_query_parameters(client: TestClient) -> None:
    def sent(data: dict[str, Any], **params: Any) -> Response:
        file = {"file": ("fruit.csv", FRUIT, "text/csv")}
        return client.post("/datasets", data=data, files=file, params=params)

    response = sent({"target": "price", "name": "mine", "text": ["ripe", "colour"]}, text="weight")
    assert response.status_code == 201, response.text
    dataset = response.json()
    assert (dataset["name"], dataset["target"]) == ("mine", "price")
    kinds = [column["kind"] for column in dataset["contents"]["columns"]]
    assert kinds == ["text", "text", "text", "numeric"]
    for data, params, field, message in [
        ({"colour": "red"}, {}, "colour", "unknown field; known: "),
        ({"encoding": "klingon"}, {}, "encoding", "utf-8"),
        ({"target": "taste"}, {}, "target", "there is no column 'taste'"),
        (
            {"target": "price"},
            {"target": "weight"},
            "target",
            "is 'price' in the form, but 'weight'",
        ),
        ({"image_size": "big"}, {}, "image_size", "must be side or height x width"),
    ]:
        refused = sent(data, **params).json()
        assert (refused["status"], refused["errors"][0]["loc"]) == (422, ["body", field])
        assert message in refused["detail"]
    query = sent({"name": "mine"}, target="taste").json()
    assert query["errors"][0]["loc"] == ["query", "target"]


def test_form_of_a_text_file_can_be_set(client: TestClient) -> None:
    options = {"delimiter": "tab", "header": "none", "quote": "none", "missing": ""}
    dataset = sent(client, b'NA\t"1\nNone\t"2\n', **options)
    assert [column["name"] for column in dataset["contents"]["columns"]] == ["c1", "c2"]
    assert dataset["options"]["missing"] == [""]
    preview = client.get(f"/datasets/{dataset['id']}/preview").json()
    assert preview["rows"] == [["NA", '"1'], ["None", '"2']]


def test_guess_about_the_form_is_a_warning(client: TestClient) -> None:
    dataset = sent(client, b"Sales\n\n" + FRUIT)
    assert dataset["contents"]["columns"][0]["name"] == "weight"
    (warning,) = dataset["warnings"]
    assert (warning["kind"], "skipped, as a title: 'Sales'" in warning["message"]) == ("form", True)


def test_equal_uploads_are_stored_once(client: TestClient, settings: Settings) -> None:
    first, again = send(client), send(client)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = sent(client, name="other")
    assert other["id"] != first.json()["id"]
    assert len(stored(settings)) == 1, "both share their rows"
    sent(client, categorical="weight")
    assert len(stored(settings)) == 2, "read otherwise it is another data set"
    assert client.delete(f"/datasets/{other['id']}").status_code == 204
    assert client.get(f"/datasets/{first.json()['id']}/preview").status_code == 200
    assert client.delete(f"/datasets/{first.json()['id']}").status_code == 204
    assert len(stored(settings)) == 1
    assert client.get(f"/datasets/{other['id']}").status_code == 404


def test_preview_shows_rows(client: TestClient) -> None:
    dataset = sent(client, target="price")
    preview = client.get(f"/datasets/{dataset['id']}/preview", params={"rows": 2}).json()
    assert preview == {
        "columns": ["weight", "ripe", "colour", "price"],
        "rows": [[100, True, "red", 1.0], [110, False, "green", 1.1]],
    }
    batches = client.get(f"/datasets/{dataset['id']}/batches", params={"batch_size": 2}).json()
    assert (batches["rows"], batches["batches"]) == (3, 2)
    assert batches["features"] == ["weight", "ripe", "colour"]
    first, last = batches["data"]
    assert first["inputs"] == {
        "shape": [2, 3],
        "dtype": "float32",
        "values": [[100, 1, 1], [110, 0, 0]],
    }
    assert first["targets"]["values"] == [[1.0], [pytest.approx(1.1)]]
    assert (last["inputs"]["shape"], last["inputs"]["values"]) == ([1, 3], [[120, 1, None]])
    shuffled = [
        client.get(
            f"/datasets/{dataset['id']}/batches", params={"shuffle": True, "seed": seed}
        ).json()
        for seed in (1, 1, 2, 3, 4)
    ]
    assert shuffled[0] == shuffled[1]
    assert any(one != shuffled[0] for one in shuffled)


def test_target_can_be_named_later(client: TestClient) -> None:
    dataset = sent(client)
    path = f"/datasets/{dataset['id']}/batches"
    assert client.get(path).status_code == 422
    classes = client.get(path, params={"target": "colour"}).json()
    assert classes["classes"] == ["green", "red"]
    assert classes["data"][0]["targets"] == {"shape": [2], "dtype": "int64", "values": [1, 0]}


def test_job_shows_the_resolved_data_set(client: TestClient) -> None:
    dataset = sent(client, name="fruit")
    job = client.post(
        "/jobs", json={"dataset": {"kind": "upload", "id": dataset["id"], "target": "price"}}
    )
    assert job.status_code == 202, job.text
    spec = job.json()["spec"]
    kinds = spec["loss"]["kind"], spec["model"]["kind"]
    assert (job.json()["name"], *kinds) == ("fruit", "mse", "auto")
    view = spec["dataset"]["resolved"]["view"]
    assert view["features"] == {"weight": "numeric", "ripe": "boolean", "colour": "categorical"}
    assert (view["task"], view["rows"]) == ("regression", {"train": 3})
    again = client.post("/jobs", json=spec)
    assert (again.status_code, again.json()["spec"]) == (202, spec)


@pytest.mark.parametrize(
    ("dataset", "loc", "message"),
    [
        ({"id": "ds_none"}, "id", "there is no data set 'ds_none'"),
        ({}, "target", "is missing; choose one of weight, ripe, colour, price"),
        ({"target": "taste"}, "target", "there is no column 'taste'"),
        ({"target": "colour", "task": "regression"}, "task", "regression needs a numeric target"),
        ({"target": "price", "features": {"size": None}}, "features", "no column 'size'"),
        ({"target": "price", "split_by": "size"}, "split_by", "no column 'size'"),
    ],
)
def test_invalid_job_is_refused_with_its_field(
    client: TestClient, dataset: dict[str, Any], loc: str, message: str
) -> None:
    request = {"kind": "upload", "id": sent(client)["id"]} | dataset
    response = client.post("/jobs", json={"dataset": request})
    assert response.status_code == 422
    problem = response.json()
    assert problem["errors"][0]["loc"][:3] in (["body", "dataset", loc], ["body", "dataset"])
    assert message in problem["detail"]


def test_data_set_of_an_active_job_cannot_be_deleted(client: TestClient) -> None:
    dataset = sent(client, target="price")
    job = client.post("/jobs", json={"dataset": {"kind": "upload", "id": dataset["id"]}}).json()
    path = f"/datasets/{dataset['id']}"
    refused = client.delete(path)
    assert (refused.status_code, job["id"] in refused.json()["detail"]) == (409, True)
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(path).status_code == 204


def test_image_previews_are_bounded(client: TestClient) -> None:
    file = io.BytesIO()
    images = np.full((40, 150, 200), 7, np.uint8)
    np.savez_compressed(file, x=images, y=np.arange(40) % 2)
    path = f"/datasets/{sent(client, file.getvalue())['id']}"
    params = {"batch_size": 20, "limit": 2, "rows": 100}
    (first, _) = client.get(f"{path}/batches", params=params).json()["data"]
    assert first["inputs"]["shape"] == [20, 150, 200]
    assert len(first["inputs"]["values"]) == len(first["targets"]["values"]) == 1
    assert len(client.get(f"{path}/preview", params={"rows": 40}).json()["rows"]) == 40
    document = {"dataset": {"kind": "upload", "id": path[10:], "task": "regression"}}
    refused = client.post("/jobs", json=document)
    assert (refused.status_code, "classified" in refused.json()["detail"]) == (422, True)


def test_unknown_target_of_batches_names_the_parameter(client: TestClient) -> None:
    path = f"/datasets/{sent(client)['id']}/batches"
    refused = client.get(path, params={"target": "nope"})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["query", "target"])


@pytest.mark.parametrize(
    ("body", "params", "message"),
    [
        (b"", {}, "empty"),
        (b"a,b\n", {}, ""),
        (b"a,b\n1,2,3\n", {}, "row 2"),
        (b"a,b\n1,2\n", {"header": "second"}, "query.header"),
        (b"a,b\n1,2\n", {"target": "c"}, "there is no column 'c'; choose one of a, b"),
        (b"a,b\n1,2\n", {"encoding": "klingon"}, "encoding"),
        (b"a,b\n1,2\n", {"image_size": "big"}, "image_size"),
        (b"a,b\n1,2\n", {"bit_depth": "13"}, "query.bit_depth: "),
        (b"a,b\n1,2\n", {"name": "no spaces"}, "name"),
        (b"a,b\n1,2\n", {"colour": "red"}, "colour"),
        (b"a,b\n1,x\n", {"numeric": "b"}, "'b'"),
        (b"a,b\n1,x\n", {"numeric": "a", "text": "a"}, "query.text: names 'a', which numeric"),
        (b"a,b\n1,x\n2,x\n", {"target": "b"}, "query.target: the column 'b' is 'x' in every"),
        (b"a,b\n1,\n2,?\n", {"target": "b"}, "query.target: the column 'b' has no value"),
    ],
)
def test_refused_upload_leaves_no_files(
    client: TestClient, settings: Settings, body: bytes, params: dict[str, str], message: str
) -> None:
    response = send(client, body, **params)
    assert response.status_code == 422, response.text
    assert message in response.json()["detail"]
    assert stored(settings) == []
    assert client.get("/datasets").json()["data"] == []


def test_uploads_have_their_own_size_limit(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "small", trainers=0, max_upload_bytes=100_000, max_body_bytes=2000
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        rows = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(5000))
        assert send(client, rows).status_code == 201
        assert send(client, rows * 5).status_code == 413
        chunks = client.post("/datasets", content=iter([rows] * 5), headers=CSV)
        assert chunks.status_code == 413
        assert len(stored(settings)) == 1


def test_startup_removes_incomplete_uploads(client: TestClient, settings: Settings) -> None:
    kept = sent(client)
    (settings.incoming_dir / "half" / "rows").mkdir(parents=True)
    (settings.uploads_dir / "nobody").mkdir()
    with TestClient(create_app(settings)) as again:
        assert again.get(f"/datasets/{kept['id']}/preview").status_code == 200
        assert len(stored(settings)) == 1
