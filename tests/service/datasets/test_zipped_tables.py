"""Uploads over HTTP of zips that hold one table."""

from fastapi.testclient import TestClient

from tests.ml.ingest.archives import zipped

FRUIT = b"weight,colour,price\n100,red,1.0\n110,green,1.1\n120,,1.25\n"


def test_zipped_table_is_its_table_named_after_the_zip(client: TestClient) -> None:
    content = zipped({"README.md": b"# Fruit", "data/all.csv": FRUIT})
    file = {"file": ("fruit.csv.zip", content, "application/zip")}
    response = client.post("/datasets?target=price", files=file)
    assert response.status_code == 201, response.text
    dataset = response.json()
    assert (dataset["name"], dataset["contents"]["rows"]) == ("fruit", 3)
    assert [column["name"] for column in dataset["contents"]["columns"]] == [
        "weight",
        "colour",
        "price",
    ]
    [warning] = dataset["warnings"]
    assert warning["message"] == "1 file of another type ('README.md') was skipped"
    preview = client.get(f"/datasets/{dataset['id']}/preview", params={"rows": 1}).json()
    assert preview == {"columns": ["weight", "colour", "price"], "rows": [[100, "red", 1.0]]}
    again = client.post("/datasets?target=price", files=file)
    assert (again.status_code, again.json()["id"]) == (200, dataset["id"])


def test_zip_of_several_tables_is_refused_by_their_names(client: TestClient) -> None:
    content = zipped({"train.csv": FRUIT, "test.csv": FRUIT})
    response = client.post("/datasets", content=content)
    assert response.status_code == 422
    assert "has 2 tables: 'train.csv', 'test.csv'; send one of them" in response.json()["detail"]
    response = client.post("/datasets?ignore=rows", content=zipped({"train.csv": FRUIT}))
    assert "there is no column 'rows' to ignore" in response.json()["detail"]
