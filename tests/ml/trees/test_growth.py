import subprocess
import sys
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ml.trees import MIN_ROWS, Forest, affordable_rows, fold_of, grow
from ml.trees.growth import (
    DIVISIONS,
    FEWEST_ROWS,
    FOLDS,
    MAX_TREES,
    MAX_WORK,
    MIN_ROUNDS,
    _rounds,
)


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.trees.growth.MAX_ROUNDS", 120)


@pytest.fixture
def boosters(monkeypatch: pytest.MonkeyPatch) -> list[lightgbm.Booster]:
    """The library's trees of each fold."""
    grown: list[lightgbm.Booster] = []
    train = lightgbm.train

    def recorded(*arguments: Any, **options: Any) -> lightgbm.Booster:
        grown.append(train(*arguments, **options))
        return grown[-1]

    monkeypatch.setattr(lightgbm, "train", recorded)
    return grown


def rows(count: int) -> Tensor:
    """Encoded rows: three numbers, one with few values, and a category's three columns."""
    generator = torch.Generator().manual_seed(count)
    numbers = torch.randn(count, 3, generator=generator)
    numbers[:, 2] = numbers[:, 2].round()
    codes = torch.randint(0, 3, (count,), generator=generator)
    return torch.cat([numbers, torch.nn.functional.one_hot(codes, 3).float()], dim=1)


def values(inputs: Tensor) -> Tensor:
    return (inputs[:, :1] * inputs[:, 3:4] + inputs[:, 1:2].sin() + 0.1 * inputs[:, 2:3]).double()


def classes_of(inputs: Tensor, count: int) -> Tensor:
    ranks = values(inputs).flatten().argsort().argsort()
    return ranks * count // len(inputs)


def library_outputs(boosters: list[lightgbm.Booster], inputs: Tensor, outputs: int) -> Tensor:
    """Return the mean of what the library itself predicts, without the base."""
    raw = np.mean([b.predict(inputs.numpy(), raw_score=True) for b in boosters], axis=0)
    sums = torch.from_numpy(raw).reshape(len(inputs), -1)
    return torch.nn.functional.pad(sums, (outputs - sums.shape[1], 0))


@pytest.mark.parametrize("classes", [None, 2, 4])
def test_the_outputs_are_the_librarys(
    classes: int | None, boosters: list[lightgbm.Booster]
) -> None:
    inputs = rows(400)
    targets = classes_of(inputs, classes) if classes else values(inputs)
    forest = grow(inputs, targets, classes).forest
    unseen = torch.cat([rows(5000), 100 * rows(200)])
    expected = forest.base + library_outputs(boosters, unseen, classes or 1)
    assert len(boosters) == FOLDS * DIVISIONS
    assert expected.std() > 0.1
    torch.testing.assert_close(forest(unseen).double(), expected.double(), rtol=1e-5, atol=1e-5)


def test_values_are_learned() -> None:
    inputs = rows(600)
    grown, unseen = grow(inputs, values(inputs)), rows(1000)
    error = (grown.forest(unseen) - values(unseen)).square().mean()
    held_out = (grown.held_out - values(inputs)).square().mean()
    assert error < 0.15 * values(unseen).var()
    assert error * 0.5 < held_out < error * 2, "what is held out is honest"


def test_classes_are_learned() -> None:
    inputs = rows(600)
    grown, unseen = grow(inputs, classes_of(inputs, 3), 3), rows(1000)
    loss = cross_entropy(grown.forest(unseen), classes_of(unseen, 3))
    held_out = cross_entropy(grown.held_out, classes_of(inputs, 3))
    assert loss < 0.6
    assert loss * 0.7 < held_out < loss * 1.5


def test_noise_is_not_learned() -> None:
    inputs = rows(300)
    noise = torch.randn(300, 1, generator=torch.Generator().manual_seed(1)).double()
    held_out = grow(inputs, noise).held_out
    assert (held_out - noise).square().mean() < 1.1 * noise.var()


def test_the_same_trees_again() -> None:
    inputs = rows(200)
    first, again, other = (
        grow(inputs, values(inputs), seed=seed).forest.state_dict() for seed in (3, 3, 4)
    )
    assert all(first[name].equal(again[name]) for name in first)
    assert first["leaves"].shape != other["leaves"].shape or not first["leaves"].equal(
        other["leaves"]
    )


def test_a_class_without_rows_is_not_impossible() -> None:
    inputs = rows(100)
    grown = grow(inputs, classes_of(inputs, 2), 3)
    for outputs in (grown.held_out, grown.forest(rows(50))):
        assert 0 < outputs.softmax(1)[:, 2].max() < 0.1
        assert outputs.isfinite().all()


def test_nothing_to_split() -> None:
    same = torch.zeros(50, 3)
    targets = torch.arange(50).double()[:, None]
    grown = grow(same, targets)
    torch.testing.assert_close(grown.forest(same[:2]), torch.full((2, 1), 24.5))


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    grow(rows(50), values(rows(50)))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("columns", [0, 1, 30, 1000, 20_000])
@pytest.mark.parametrize("outputs", [1, 2, 10, 100])
@pytest.mark.parametrize("count", [MIN_ROWS, 499, 5000, 10**8])
def test_work_and_size_are_bounded(count: int, columns: int, outputs: int) -> None:
    affordable = affordable_rows(count, columns, outputs)
    assert affordable == 0 or min(count, FEWEST_ROWS) <= affordable <= count
    if affordable:
        rounds = _rounds(affordable, columns, outputs)
        assert rounds >= MIN_ROUNDS
        assert rounds * FOLDS * outputs <= MAX_TREES
        assert rounds * FOLDS * outputs * columns * affordable <= MAX_WORK
    else:
        assert outputs * columns > 10_000, "far too many"


@pytest.mark.parametrize(("count", "outputs"), [(MIN_ROWS - 1, 1), (5000, 101)])
def test_too_few_rows_and_too_many_outputs_are_refused(count: int, outputs: int) -> None:
    assert affordable_rows(count, 3, outputs) == 0
    with pytest.raises(ValueError, match=f"{count} rows, of which 0 are affordable"):
        grow(torch.zeros(count, 3), torch.zeros(count, dtype=torch.int64), outputs)


def test_folds_share_each_class() -> None:
    classes = torch.arange(103) % 10 // 9
    fold = fold_of(classes, 5, seed=1)
    assert fold.bincount().tolist() == [21, 21, 21, 20, 20] or fold.bincount().max() <= 21
    assert {int(count) for count in fold[classes == 1].bincount(minlength=5)} <= {1, 2, 3}
    assert not fold.equal(fold_of(classes, 5, seed=2))


def test_a_forest_serves_without_the_library() -> None:
    code = "import sys, ml.inference.model, ml.trees; sys.exit('lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_outputs() -> None:
    inputs = rows(400)
    forest: Forest = grow(inputs, classes_of(inputs, 4), 4).forest
    expected = forest(inputs)
    torch.testing.assert_close(forest.cuda()(inputs.cuda()).cpu(), expected, rtol=1e-5, atol=1e-5)


def test_each_of_several_values_has_the_trees_that_it_has_alone() -> None:
    inputs = rows(120)
    targets = torch.cat([values(inputs), 3 * inputs[:, 2:3].double()], 1)
    both = grow(inputs, targets)
    alone = [grow(inputs, target) for target in targets.split(1, 1)]
    assert both.held_out.equal(torch.cat([one.held_out for one in alone], 1))
    outputs = torch.cat([one.forest(inputs) for one in alone], 1)
    torch.testing.assert_close(both.forest(inputs), outputs)


def test_folds_of_several_values_have_low_and_high_sums() -> None:
    targets = torch.stack([torch.arange(100.0), -torch.arange(100.0) * 0.5], 1)
    assert fold_of(targets, 5, seed=0).equal(fold_of(torch.arange(100.0)[:, None] * 0.5, 5, seed=0))
