"""What `auto` chooses where its user names nothing, and only there."""

from typing import Any

import pytest
from pydantic import ValidationError

from ml import recipes
from ml.models import AutoSpec, LinearSpec, TabMSpec
from ml.optimizers import AdamSpec, AdamWSpec
from ml.signature import Classes
from ml.specs import TrainingRequest, TrainingSpec, resolve
from ml.strict import parse
from tests.conftest import LINE
from tests.ml.shelf import Shelf

SYNTHETIC = LINE["dataset"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    rows = [f"{n},{n % 7},{'abc'[n % 3]},p{n // 150},{n * n}" for n in range(300)]
    shelf.put("\n".join(["x,z,c,who,y", *rows]), target="y")
    parts = [f"{n},{n * n},{'train' if n % 3 else 'validation'}" for n in range(30)]
    shelf.put("\n".join(["x,y,part", *parts]), target="y")
    shelf.put("x,y\n1,2\n2,3\n3,5\n4,7\n5,11\n", target="y")
    return shelf


def spec(shelf: Shelf, number: int = 0, **document: Any) -> TrainingSpec:
    dataset = {"kind": "upload", "id": f"ds_{number}"} | document.pop("dataset", {})
    return TrainingSpec.of({"dataset": dataset} | document, shelf)


def test_every_field_is_filled_in(shelf: Shelf) -> None:
    found = spec(shelf)
    assert found.model == AutoSpec(beside=["linear", "trees"], tabm=TabMSpec())
    assert found.split.validation == 0.15
    assert found.optimizer == AdamWSpec(lr=0.002, weight_decay=0.0003)
    assert (found.epochs, found.batch_size, found.patience) == (200, 32, 16)
    assert (found.keep_best, found.clip_grad_norm) == (True, 1.0)


def test_shown_spec_is_resolved_to_itself(shelf: Shelf) -> None:
    found = spec(shelf)
    again = parse(TrainingRequest, found.model_dump(mode="json"))
    assert resolve(again, shelf) == found


@pytest.mark.parametrize(
    "named",
    [
        {"epochs": 3},
        {"batch_size": 7},
        {"optimizer": {"kind": "adam", "lr": 0.001}},
        {"patience": None},
        {"keep_best": False},
        {"clip_grad_norm": None},
        {"schedule": {"kind": "cosine"}},
        {"split": {"validation": 0.0}},
        {"model": {"kind": "auto", "beside": []}},
        {"model": {"kind": "auto", "tabm": {"kind": "tabm", "members": 2}}},
    ],
    ids=lambda named: next(iter(named)),
)
def test_what_the_user_names_is_kept(shelf: Shelf, named: dict[str, Any]) -> None:
    request = TrainingRequest.model_validate({"dataset": {"kind": "upload", "id": "ds_0"}} | named)
    found = resolve(request, shelf)
    for name, value in named.items():
        wanted = getattr(request, name)
        if name == "model":
            for field in value.keys() - {"kind"}:
                assert getattr(found.model, field) == getattr(wanted, field)
        else:
            assert getattr(found, name) == wanted
    usual = spec(shelf)
    for name in {"batch_size", "optimizer", "clip_grad_norm"} - named.keys():
        assert getattr(found, name) == getattr(usual, name)


def test_other_models_and_data_keep_the_usual_defaults(shelf: Shelf) -> None:
    for found in (
        spec(shelf, model="mlp"),
        spec(shelf, model="tabm"),
        TrainingSpec.of({"dataset": SYNTHETIC}),
        TrainingSpec.of({"dataset": {"kind": "mnist"}}),
    ):
        assert (found.epochs, found.batch_size, found.patience) == (10, 64, None)
        assert (found.optimizer, found.split.validation) == (AdamSpec(), 0)
    assert TrainingSpec.of({"dataset": SYNTHETIC}).model == LinearSpec()


def test_synthetic_rows_have_the_recipe_if_asked() -> None:
    found = TrainingSpec.of({"dataset": SYNTHETIC | {"size": 1000}, "model": "auto"})
    assert found.model == AutoSpec(beside=["linear", "trees"], tabm=TabMSpec())
    assert (found.split.validation, found.keep_best) == (0.15, True)


def test_own_validation_rows_are_used(shelf: Shelf) -> None:
    found = spec(shelf, 1, dataset={"split_by": "part"})
    assert (found.split.validation, found.patience) == (0, 16)


@pytest.mark.parametrize(
    ("number", "split"),
    [(2, {}), (0, {"folds": 3}), (0, {"group": "who"}), (0, {"validation": 0.0})],
    ids=["too few rows", "folds", "too few groups", "none wanted"],
)
def test_without_validation_rows_nothing_is_watched(
    shelf: Shelf, number: int, split: dict[str, Any]
) -> None:
    found = spec(shelf, number, split=split)
    assert (found.split.validation, found.patience, found.keep_best) == (0, None, False)
    assert found.epochs >= recipes.EPOCHS_UNWATCHED


@pytest.mark.parametrize("rows", [1, 999, 10_000, 1_000_000, 100_000_000])
def test_steps_are_bounded(rows: int) -> None:
    for is_watched in (True, False):
        chosen = recipes.training(rows, is_watched)
        steps = -(-rows // chosen["batch_size"])
        assert chosen["epochs"] == 1 or chosen["epochs"] * steps <= recipes.MOST_STEPS


def test_few_rows_do_without_trees(shelf: Shelf) -> None:
    assert spec(shelf, 2).model == AutoSpec(beside=["linear"], tabm=TabMSpec())


def test_models_beside_tabm_are_named_once() -> None:
    with pytest.raises(ValidationError, match="names trees twice; name each model once"):
        AutoSpec(beside=["trees", "trees"])


def test_wide_data_do_without_a_linear_model(shelf: Shelf) -> None:
    signature = spec(shelf).dataset.signature()
    wide = signature.inputs.model_copy(update={"names": [f"x{n}" for n in range(2000)]})
    wide = wide.model_copy(update={"encoding": None})
    signature = signature.model_copy(update={"inputs": wide})
    assert recipes.model(AutoSpec(), 1000, signature).beside == ["trees"]


def test_very_many_classes_do_without_trees(shelf: Shelf) -> None:
    signature = spec(shelf).dataset.signature()
    for count, beside in ((100, ["linear", "trees"]), (101, ["linear"])):
        classes = Classes(names=[f"c{number}" for number in range(count)])
        many = signature.model_copy(update={"output": classes})
        assert recipes.model(AutoSpec(), 5000, many).beside == beside
