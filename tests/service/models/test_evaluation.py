"""Choice of the data set and of the rows to evaluate a model on."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml import datasets
from ml.datasets import DatasetSpec
from ml.datasets.uploads import UploadRequest, UploadSpec
from ml.errors import Invalid
from ml.evaluation import compatibility
from ml.evaluation.evaluate import evaluate_split
from ml.evaluation.schemas import Classification, Regression
from ml.signature import Signature
from ml.specs import TrainingSpec
from ml.training.initial_model import build
from service.jobs.attempts import AttemptStore
from service.models.evaluation import _dataset
from service.models.schemas import EvaluationRequest
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import LINE
from tests.ml.shelf import Shelf
from tests.service.routes.test_charts import run

TRAINED = "weight,note,price\n1,a,10\n2,b,20\n3,a,30\n4,b,40\n5,a,50\n"
OTHER = "price,weight,note,height\n10,1,a,7\n20,2,b,8\n"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def trained(shelf: Shelf) -> DatasetSpec:
    features = {"weight": None}
    return shelf.spec({"id": shelf.put(TRAINED), "target": "price", "features": features}).dataset


def found(
    shelf: Shelf, spec: DatasetSpec, content: str | None = OTHER, **document: Any
) -> DatasetSpec:
    if content is None:
        request = EvaluationRequest()
    else:
        document = {"kind": "upload", "id": shelf.put(content)} | document
        request = EvaluationRequest(dataset=UploadRequest.model_validate(document))
    return _dataset(request, spec, spec.signature(), shelf)


def test_default_is_the_data_set_of_the_model(shelf: Shelf) -> None:
    spec = trained(shelf)
    assert found(shelf, spec, None) is spec


def test_another_table_uses_the_columns_of_the_model(shelf: Shelf) -> None:
    spec = found(shelf, trained(shelf))
    assert isinstance(spec, UploadSpec)
    assert (spec.target, spec.task) == ("price", "regression")
    assert spec.features == {"weight": "numeric"}


def test_named_columns_override_the_columns_of_the_model(shelf: Shelf) -> None:
    spec = found(shelf, trained(shelf), target="weight", features=None)
    assert isinstance(spec, UploadSpec)
    assert spec.target == "weight"
    assert list(spec.signature().inputs.names) == ["price", "note", "height"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "height,price\n1,10\n2,20\n",
            "is missing columns of this model: weight; it has height, p",
        ),
        (
            "weight,cost\n1,10\n2,20\n",
            "is missing columns of this model: price; it has weight, cost",
        ),
        ("weight,price\nheavy,1\nlight,2\n", "'weight' is categorical and cannot be used as num"),
        ("weight,price\n1,\n2,\n", "'price' has no value in any row"),
    ],
)
def test_tables_of_other_columns_are_refused(shelf: Shelf, content: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        found(shelf, trained(shelf), content)


def test_a_table_must_have_the_features_of_a_formula(shelf: Shelf) -> None:
    line = TrainingSpec.of(LINE).dataset
    with pytest.raises(Invalid, match="is missing columns of this model: x; it has price"):
        found(shelf, line)
    spec = found(shelf, line, "more,x,y\n1,2,8\n", target="y")
    compatibility.check(spec.signature(), line.signature())
    with pytest.raises(Invalid, match="has rows, but this model takes images"):
        found(shelf, TrainingSpec.of({"dataset": {"kind": "mnist"}}).dataset)


def evaluation(shelf: Shelf, spec: TrainingSpec, content: str) -> Classification | Regression:
    """Evaluate an untrained model of `spec` on all rows of another table."""
    data = shelf.load(spec)
    signature: Signature = data.signature
    other = found(shelf, spec.dataset, content)
    compatibility.check(other.signature(), signature)
    rows = datasets.load_undivided(other, shelf.root, signature)
    loss = spec.loss.measure
    result = evaluate_split(build(spec, data), rows, signature, loss, "all").evaluation
    assert "NaN" not in result.model_dump_json()
    return result


FRUIT = "colour,ripe,kind\n" + "red,true,apple\nyellow,false,pear\ngreen,true,apple\n" * 4


@pytest.mark.parametrize(
    ("content", "rows", "unknown"),
    [
        ("colour,ripe,kind\nred,true,apple\nred,false,apple\nred,true,apple\n", 3, {}),
        ("colour,ripe,kind\nred,true,pear\n", 1, {}),
        ("kind,more,ripe,colour\napple,1,true,blue\npear,2,false,red\n", 2, {"colour": 1}),
        ("colour,ripe,kind\n,,pear\n", 1, {}),
    ],
)
def test_one_class_or_one_row_is_enough(
    shelf: Shelf, content: str, rows: int, unknown: dict[str, int]
) -> None:
    spec = shelf.spec({"id": shelf.put(FRUIT), "target": "kind"})
    measured = evaluation(shelf, spec, content)
    assert isinstance(measured, Classification)
    assert (measured.rows, measured.unknown) == (rows, unknown)
    assert measured.accuracy in (0, 0.5, 1 / 3, 2 / 3, 1)
    absent = [scores for scores in measured.classes if not scores.support]
    assert all(scores.recall is None for scores in absent)
    with pytest.raises(Invalid, match="classes unknown to this model: plum"):
        evaluation(shelf, spec, "colour,ripe,kind\nred,true,plum\n")


def test_one_row_of_a_regression_has_no_r2(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(TRAINED), "target": "price"})
    measured = evaluation(shelf, spec, "note,weight,price\nz,3,30\n")
    assert isinstance(measured, Regression)
    assert (measured.rows, measured.r2, measured.unknown) == (1, None, {"note": 1})
    assert measured.mae is not None


def upload(client: TestClient, content: str) -> str:
    response = client.post("/datasets?target=y", content=content.encode())
    assert response.status_code == 201, response.text
    dataset_id: str = response.json()["id"]
    return dataset_id


def test_all_rows_of_another_data_set_are_evaluated(client: TestClient, settings: Settings) -> None:
    table = "who,x,y\n" + "".join(f"{'abcde'[i % 5]},{i},{2 * i + i % 3}\n" for i in range(50))
    own = upload(client, table)
    spec = {
        "name": "told",
        "dataset": {"kind": "upload", "id": own},
        "model": "linear",
        "split": {"group": "who"},
        "epochs": 1,
    }
    database = Database(settings.sqlalchemy_url)
    job = run(client, AttemptStore(database, settings), settings, spec)
    database.close()
    path = "/models/told/versions/1/evaluat"
    kept = client.get(f"{path}ion").json()
    assert (kept["split"], kept["rows"]) == ("test", 10)
    assert kept["baseline"]["linear"]["r2"] > 0.99 > kept["baseline"]["mean"]["r2"]
    assert kept["baseline"]["linear_rows"] == 40
    metrics = client.get(f"/jobs/{job}").json()["metrics"]
    assert metrics["baseline_linear_r2"] == kept["baseline"]["linear"]["r2"]
    assert metrics["baseline_mean_mae"] == kept["baseline"]["mean"]["mae"]

    def evaluated(**request: Any) -> dict[str, Any]:
        response = client.post(f"{path}e", json=request)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    assert evaluated() == kept
    assert evaluated(dataset=spec["dataset"]) == kept, "its own data set, named"
    assert evaluated(dataset=spec["dataset"], split="all")["rows"] == 50
    other = {"kind": "upload", "id": upload(client, "y,x\n" + "1,2\n3,4\n" * 10)}
    measured = evaluated(dataset=other)
    assert (measured["split"], measured["rows"]) == ("all", 20)
    assert measured["baseline"]["mean"]["mae"] > 0
    assert evaluated(dataset=other, split="test")["rows"] == 4
    assert evaluated(dataset=other, division={"test": 0.5})["rows"] == 10
    refused = client.post(f"{path}e", json={"dataset": other, "division": {"group": "who"}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "division", "group"]
