import torch
from torch import nn

from ml.trees.forest import COMPARED_ON_CPU, EVERY_LEAF, FIRST_LEAF, MAX_LEAVES, Forest, Tree


def all_but(*leaves: int) -> int:
    return EVERY_LEAF - sum(FIRST_LEAF >> leaf for leaf in leaves)


STUMP = Tree(features=[1], thresholds=[0.5], masks=[all_but(0)], leaves=[-1.0, 1.0])
# x0 <= 0 ? (x1 <= 0 ? 1 : 2) : (x1 <= 0 ? 4 : 8), its splits in another order.
QUARTERS = Tree(
    [1, 0, 1], [0.0, 0.0, 0.0], [all_but(2), all_but(0, 1), all_but(0)], [1.0, 2.0, 4.0, 8.0]
)
LEAF = Tree([], [], [], [0.25])
ZERO = torch.zeros(1, dtype=torch.float64)


def test_a_row_goes_to_its_leaf() -> None:
    rows = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    assert Forest.of([QUARTERS], ZERO)(rows).flatten().tolist() == [1.0, 2.0, 4.0, 8.0, 1.0]


def test_trees_and_base_add_up() -> None:
    forest = Forest.of([QUARTERS, STUMP, LEAF], ZERO + 10)
    assert forest(torch.tensor([[1.0, 1.0]])).item() == 10 + 8 + 1 + 0.25


def test_the_longest_chain_of_splits() -> None:
    """All leaves of a tree whose right side is always a leaf, and of one whose left side is."""
    count = MAX_LEAVES - 1
    leaves = [float(leaf) for leaf in range(MAX_LEAVES)]
    thresholds = [float(split) for split in range(count)]
    to_the_left = Tree(
        [0] * count, thresholds, [all_but(*range(i + 1)) for i in range(count)], leaves
    )
    to_the_right = Tree([0] * count, thresholds, [all_but(i) for i in range(count)], leaves)
    rows = torch.tensor(leaves).sub(0.5)[:, None]
    for tree in (to_the_left, to_the_right):
        assert Forest.of([tree], ZERO)(rows).flatten().tolist() == leaves


def test_thresholds_between_float32_numbers() -> None:
    """A float64 threshold decides as it does in float64, however close a float32 input is."""
    threshold = 0.1
    near = torch.tensor([threshold])
    rows = torch.stack(
        [near.nextafter(torch.tensor(-1.0)), near, near.nextafter(torch.tensor(1.0))]
    )
    stump = STUMP._replace(features=[0], thresholds=[threshold])
    expected = torch.where(rows.double() > threshold, 1.0, -1.0).flatten()
    assert expected.tolist() == [-1.0, 1.0, 1.0], "float32 rounds 0.1 up"
    assert Forest.of([stump], ZERO)(rows).flatten().equal(expected)


def test_trees_of_classes_take_turns() -> None:
    base = torch.tensor([0.0, 10.0, 20.0], dtype=torch.float64)
    forest = Forest.of([STUMP, LEAF, QUARTERS] * 2, base)
    assert forest(torch.tensor([[-1.0, 1.0]])).tolist() == [[2.0, 10.5, 24.0]]


def test_trees_of_two_classes_are_of_the_second() -> None:
    base = torch.tensor([5.0, 7.0], dtype=torch.float64)
    forest = Forest.of([STUMP, LEAF], base, is_binary=True)
    assert forest(torch.tensor([[0.0, 1.0]])).tolist() == [[5.0, 8.25]]


def test_trees_of_two_values_are_of_each_in_turn() -> None:
    forest = Forest.of([STUMP, LEAF], torch.tensor([5.0, 8.0]))
    one = Forest.of([STUMP], torch.tensor([5.0]))
    other = Forest.of([LEAF], torch.tensor([8.0]))
    rows = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    assert forest(rows).equal(torch.cat([one(rows), other(rows)], 1))


def test_a_batch_larger_than_compared_at_once() -> None:
    forest = Forest.of([QUARTERS, STUMP] * 50, ZERO)
    rows = torch.randn(2 * COMPARED_ON_CPU // forest.features.numel() + 3, 2)
    single = torch.cat([forest(row) for row in rows.split(1)])
    assert forest(rows).equal(single)


def test_without_trees_the_base_is_all() -> None:
    assert Forest(3)(torch.randn(4, 2)).equal(torch.zeros(4, 3))


def test_a_loaded_state_brings_the_trees() -> None:
    saved = nn.ModuleDict({"trees": Forest.of([QUARTERS, STUMP], ZERO + 1)})
    loaded = nn.ModuleDict({"trees": Forest(1)})
    loaded.load_state_dict(saved.state_dict())
    rows = torch.randn(100, 2)
    assert loaded["trees"](rows).equal(saved["trees"](rows))
    assert not [*loaded.parameters()]
