"""Partners of a blend are fitted to all rows, and measured on rows that they were not fitted to."""

import pytest
import torch

from ml.models import EncodedRows
from ml.models.partners import Constant, LinearFit, Partner, Trees
from ml.signature import Classes, Value

RANDOM = torch.Generator().manual_seed(0)
INPUTS = torch.randn(120, 3, generator=RANDOM)
NOISE = torch.randn(120, 1, generator=RANDOM)
VALUE, CLASSES = Value(name="y"), Classes(names=["a", "b", "c"])


def squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return (outputs - targets).square().mean().item()


def test_constant_of_a_row_is_the_mean_of_the_others() -> None:
    targets = torch.tensor([[1.0], [2.0], [6.0]])
    constant = Constant(3, VALUE)
    held_out = constant.fit_across(EncodedRows(INPUTS[:3], targets))
    assert constant(INPUTS[:2]).tolist() == [[3.0], [3.0]]
    assert held_out.tolist() == [[4.0], [3.5], [1.5]]


def test_constant_of_classes_leaves_each_row_out_and_no_class_impossible() -> None:
    classes = torch.tensor([0, 0, 1])
    constant = Constant(3, CLASSES)
    held_out = constant.fit_across(EncodedRows(INPUTS[:3], classes))
    assert constant(INPUTS[:1]).exp()[0].tolist() == pytest.approx(
        [2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5]
    )
    assert held_out.exp()[2].tolist() == pytest.approx([2.5 / 3.5, 0.5 / 3.5, 0.5 / 3.5])


@pytest.mark.parametrize("partner", [Constant(3, VALUE), LinearFit(3, VALUE), Trees(VALUE)])
def test_noise_is_not_learned_from_held_out_rows(partner: Partner) -> None:
    held_out = partner.fit_across(EncodedRows(INPUTS, NOISE))
    assert squared_error(held_out, NOISE) > NOISE.var(correction=0).item()
    assert squared_error(partner(INPUTS), NOISE) <= NOISE.var(correction=0).item() * 1.0001


@pytest.mark.parametrize("partner", [Constant(3, CLASSES), LinearFit(3, CLASSES), Trees(CLASSES)])
def test_classes_are_learned(partner: Partner) -> None:
    classes = (INPUTS[:, 0] > 0).long() + (INPUTS[:, 0] > 1).long()
    held_out = partner.fit_across(EncodedRows(INPUTS, classes))
    right = (held_out.argmax(1) == classes).float().mean()
    assert right > (0.8 if not isinstance(partner, Constant) else 0.3)
    assert held_out.shape == partner(INPUTS).shape == (120, 3)


def test_few_rows_grow_no_trees() -> None:
    trees = Trees(VALUE)
    assert trees.fit_across(EncodedRows(INPUTS[:5], NOISE[:5])).tolist() == [[0.0]] * 5
