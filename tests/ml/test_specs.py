"""Training requests are parsed without lookups, and resolved to specs."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ml.datasets.uploads import NO_UPLOADS, UploadSpec
from ml.errors import Damaged, Invalid
from ml.losses import CrossEntropySpec, MSESpec
from ml.specs import TUTORIAL_MLP, TrainingRequest, TrainingSpec, resolve
from tests.conftest import LINE
from tests.ml.shelf import Shelf

TABLE = "x,c,y\n1,a,5\n2,b,6\n3,a,7\n4,b,8\n5,a,9\n"
UPLOAD: dict[str, Any] = {"kind": "upload", "id": "ds_0"}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(TABLE, target="y")
    return shelf


def test_request_is_parsed_without_its_data_set() -> None:
    request = TrainingRequest.model_validate({"dataset": UPLOAD | {"target": "no such column"}})
    assert (request.name, request.model, request.loss) == (None, None, None)


def test_defaults_are_filled_in(shelf: Shelf) -> None:
    images = TrainingSpec.of({"dataset": {"kind": "mnist"}})
    assert (images.name, images.model, images.loss) == ("mnist", TUTORIAL_MLP, CrossEntropySpec())
    table = TrainingSpec.of({"dataset": UPLOAD}, shelf)
    assert (table.name, table.model.kind, table.loss) == ("fruit", "auto", MSESpec())
    assert isinstance(table.dataset, UploadSpec)
    assert (table.dataset.target, table.dataset.task) == ("y", "regression")
    assert table.dataset.resolved.content == "ds_0"


def test_resolving_a_spec_returns_it_unchanged(shelf: Shelf) -> None:
    spec = TrainingSpec.of({"dataset": UPLOAD}, shelf)
    assert resolve(spec, shelf) == spec
    written = TrainingRequest.model_validate(spec.model_dump(mode="json"))
    assert resolve(written, shelf) == spec


@pytest.mark.parametrize("field", ["name", "model", "loss"])
def test_spec_requires_every_field(field: str) -> None:
    document = TrainingSpec.of(LINE).model_dump()
    del document[field]
    with pytest.raises(ValidationError, match="Field required"):
        TrainingSpec.model_validate(document)


@pytest.mark.parametrize(
    ("document", "loc"),
    [
        ({"dataset": UPLOAD | {"id": "ds_7"}}, ("dataset", "id")),
        ({"dataset": UPLOAD | {"target": "taste"}}, ("dataset", "target")),
        ({"dataset": UPLOAD | {"target": "c", "task": "regression"}}, ("dataset", "task")),
        ({"dataset": UPLOAD | {"split_by": "x"}}, ("dataset", "split_by")),
        ({"dataset": UPLOAD | {"split_by": "c"}}, ("dataset", "split_by")),
        ({"dataset": UPLOAD | {"features": {}}}, ("dataset", "features")),
        ({"dataset": UPLOAD, "split": {"test": 0.01}}, ("split",)),
        ({"dataset": UPLOAD, "loss": "cross_entropy"}, ("loss",)),
        ({"dataset": UPLOAD, "epochs": 0}, ("epochs",)),
    ],
)
def test_errors_name_the_field(
    shelf: Shelf, document: dict[str, Any], loc: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid) as error:
        TrainingSpec.of(document, shelf)
    assert error.value.loc == loc


def test_spec_with_mismatched_content_is_refused(shelf: Shelf) -> None:
    spec = TrainingSpec.of({"dataset": UPLOAD}, shelf)
    shelf.put("x,y\n1,2\n2,3\n", target="y")
    document = spec.model_dump()
    document["dataset"]["id"] = "ds_1"
    with pytest.raises(Invalid, match="does not match the content") as error:
        TrainingSpec.of(document, shelf)
    assert error.value.loc == ("dataset", "resolved")


def test_upload_without_rows_is_damaged(shelf: Shelf) -> None:
    (shelf.find("ds_0").directory / "table.parquet").unlink()
    with pytest.raises(Damaged, match="is missing; upload the same file again"):
        TrainingSpec.of({"dataset": UPLOAD}, shelf)


def test_uploads_are_unknown_without_a_store() -> None:
    with pytest.raises(Invalid, match="known only to the service"):
        resolve(TrainingRequest.model_validate({"dataset": UPLOAD}), NO_UPLOADS)
