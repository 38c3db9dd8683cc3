"""Choice of the data set to evaluate a model on."""

from pathlib import Path
from typing import Any

import pytest

from ml.datasets import DatasetSpec
from ml.datasets.uploads import UploadRequest, UploadSpec
from ml.errors import Invalid
from ml.specs import TrainingSpec
from service.models.evaluation import _dataset
from tests.conftest import LINE
from tests.ml.shelf import Shelf

TRAINED = "weight,note,price\n1,a,10\n2,b,20\n3,a,30\n4,b,40\n5,a,50\n"
OTHER = "price,weight,note,height\n10,1,a,7\n20,2,b,8\n"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def trained(shelf: Shelf) -> DatasetSpec:
    features = {"weight": None}
    return shelf.spec({"id": shelf.put(TRAINED), "target": "price", "features": features}).dataset


def request(shelf: Shelf, **document: Any) -> UploadRequest:
    document |= {"kind": "upload", "id": shelf.put(OTHER)}
    return UploadRequest.model_validate(document)


def test_default_is_the_data_set_of_the_model(shelf: Shelf) -> None:
    spec = trained(shelf)
    assert _dataset(None, spec, shelf) is spec


def test_another_table_uses_the_columns_of_the_model(
    shelf: Shelf,
) -> None:
    found = _dataset(request(shelf), trained(shelf), shelf)
    assert isinstance(found, UploadSpec)
    assert (found.target, found.task) == ("price", "regression")
    assert found.features == {"weight": "numeric"}


def test_named_columns_override_the_columns_of_the_model(shelf: Shelf) -> None:
    found = _dataset(request(shelf, target="weight", features=None), trained(shelf), shelf)
    assert isinstance(found, UploadSpec)
    assert found.target == "weight"
    assert list(found.signature().inputs.names) == ["price", "note", "height"]  # type: ignore[union-attr]
    line = TrainingSpec.of(LINE).dataset
    with pytest.raises(Invalid, match="is missing; choose one of"):
        _dataset(request(shelf), line, shelf)
