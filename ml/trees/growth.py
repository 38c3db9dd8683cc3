"""Growing of gradient-boosted trees by LightGBM (Ke et al. 2017)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from ml.trees.folds import fold_of
from ml.trees.forest import EVERY_LEAF, FIRST_LEAF, MAX_LEAVES, Forest, Tree

if TYPE_CHECKING:
    from lightgbm import Booster

MIN_ROWS = 20
"""Number of rows below which no trees are grown."""
FEWEST_ROWS = 500
"""Number of rows, if there are as many, without which no trees are grown."""
FOLDS = 5
SMALL = 2_000
"""Number of rows below which trees are smaller, and the mean of several divisions into folds."""
DIVISIONS = 3
DIVISION_ROUNDS = 100
"""Maximum number of rounds below which several divisions would have too few each."""
PATIENCE = 50
"""Rounds without a lower loss on the fold held out after which growing ends."""
RATE, TOP_RATE = 0.05, 0.3
"""The learning rate, and its maximum where the number of rounds is limited."""
RATE_ROUNDS = 400
"""Number of rounds from which the learning rate needs no increase."""
MIN_ROUNDS, MAX_ROUNDS = 20, 1000
"""Fewest rounds of trees that are worth it, and the maximum."""
MAX_TREES = 10_000
"""Number of trees of a forest above which a row takes about a millisecond."""
MAX_OUTPUTS = MAX_TREES // (FOLDS * MIN_ROUNDS)
MAX_NUMBERS = 20_000_000
"""Maximum number of inputs that trees are grown from."""
MAX_WORK = 1e10
"""Histogram entries of all rounds and folds, filled or read: about a minute of a slow core."""
HISTOGRAMS = 15 * 255
"""Entries of one input's histograms in all leaves of a tree."""
SIZES = {"num_leaves": MAX_LEAVES, "min_data_in_leaf": 10}
SMALL_SIZES = {"num_leaves": 8, "min_data_in_leaf": 5}
GROWTH = {
    "lambda_l2": 1.0,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "boost_from_average": False,  # the base is ours
    "use_missing": False,
    # The same trees, whatever the number of cores.
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}

NO_TREE = Tree([], [], [], [0.0])
"""A tree that adds nothing."""


class Grown(NamedTuple):
    """Trees, and their outputs for rows that they were not grown from."""

    forest: Forest
    """The mean of the forests of all folds."""
    held_out: Tensor
    """Outputs `(rows, outputs)` float32 for the rows given, each by the forest grown without it."""


def affordable_rows(rows: int, columns: int, outputs: int) -> int:
    """Return the number of rows, at most `rows`, that trees of so many `columns` and `outputs` can
    be grown from in bounded time; 0 if they are too few, or the outputs too many."""
    columns = max(1, columns)
    by_work = int(MAX_WORK / (MIN_ROUNDS * FOLDS * outputs * columns)) - HISTOGRAMS
    affordable = min(rows, MAX_NUMBERS // columns, by_work)
    is_enough = affordable >= max(MIN_ROWS, min(rows, FEWEST_ROWS))
    return affordable if is_enough and outputs <= MAX_OUTPUTS else 0


def grow(inputs: Tensor, targets: Tensor, classes: int | None = None, seed: int = 0) -> Grown:
    """Return trees that predict `targets` from `inputs` `(rows, columns)` float32 without NaN.

    Without `classes`, targets are values `(rows, outputs)`, each of which has trees of its own that
    minimise its squared error. Else they are indices `(rows,)` below `classes`, and the outputs are
    logits, of which the log loss is minimised. One forest is grown without each of `FOLDS` folds,
    until the loss on the fold falls no more; the result is their mean. Of few rows, the mean of
    `DIVISIONS` into folds is steadier.

    The same arguments give the same trees, bit for bit on the same CPU. `MAX_WORK` bounds the time.

    Raises:
        ValueError: there are more rows than `affordable_rows`.
    """
    rows, columns = inputs.shape
    outputs = classes or targets.shape[1]
    if rows > (affordable := affordable_rows(rows, columns, outputs)):
        raise ValueError(f"{rows} rows, of which {affordable} are affordable")
    divisions = DIVISIONS if rows < SMALL else 1
    rounds = _rounds(rows, columns, outputs * divisions)
    if rounds < DIVISION_ROUNDS:
        divisions, rounds = 1, _rounds(rows, columns, outputs)
    inputs, targets = inputs.cpu(), targets.cpu()
    if classes is not None:
        grown = _grow(inputs, targets, classes, divisions, rounds, seed)
        forest = Forest.of(grown.trees, grown.base, is_binary=classes == 2)
        return Grown(forest, grown.held_out)
    each = [_grow(inputs, one, None, divisions, rounds, seed) for one in targets.unbind(1)]
    longest = max(len(grown.trees) for grown in each)
    padded = [grown.trees + [NO_TREE] * (longest - len(grown.trees)) for grown in each]
    in_turn = [tree for turn in zip(*padded, strict=True) for tree in turn]
    base, held_out = (
        torch.cat(parts, -1) for parts in zip(*(one[1:] for one in each), strict=True)
    )
    return Grown(Forest.of(in_turn, base), held_out)


class _GrownTrees(NamedTuple):
    trees: list[Tree]
    base: Tensor
    held_out: Tensor


def _grow(
    inputs: Tensor, labels: Tensor, classes: int | None, divisions: int, rounds: int, seed: int
) -> _GrownTrees:
    """Grow trees of one value, or of classes, `labels` `(rows,)`."""
    rows, base, is_binary = len(labels), _base(labels, classes), classes == 2
    held_out = torch.zeros(rows, len(base))
    trees: list[Tree] = []
    for division in range(divisions):
        fold = fold_of(labels, FOLDS, seed + division)
        for number in range(FOLDS):
            out = fold == number
            learned, watched = (
                (inputs[part].numpy(), labels[part].numpy()) for part in (~out, out)
            )
            booster = _booster(learned, watched, base, rounds, seed + division * FOLDS + number)
            grown = [*_trees(booster)]
            held_out[out] += Forest.of(grown, base, is_binary)(inputs[out]) / divisions
            trees += grown
    count = FOLDS * divisions
    shares = [tree._replace(leaves=[leaf / count for leaf in tree.leaves]) for tree in trees]
    return _GrownTrees(shares, base, held_out)


def _base(labels: Tensor, classes: int | None) -> Tensor:
    """Return the outputs without trees, float64: the mean, or the logarithms of the shares of the
    classes, with half a row more of each, so that none is impossible."""
    if classes is None:
        return labels.double().mean()[None]
    counts = one_hot(labels, classes).sum(0).double() + 0.5
    return (counts / counts.sum()).log()


Part = tuple[NDArray[np.float32], NDArray[Any]]
"""Inputs and labels of some rows."""


def _booster(learned: Part, watched: Part, base: Tensor, rounds: int, seed: int) -> "Booster":
    """Return LightGBM's trees, whose best round has the lowest loss on the rows `watched`."""
    # Imported here because only trainers need it.
    import lightgbm

    objective: Mapping[str, Any] = {
        1: {"objective": "regression"},
        2: {"objective": "binary"},
    }.get(len(base), {"objective": "multiclass", "num_class": len(base)})
    sizes = SMALL_SIZES if len(learned[0]) + len(watched[0]) < SMALL else SIZES
    rate = min(TOP_RATE, max(RATE, RATE * RATE_ROUNDS / rounds))
    start = (base[1:] - base[0] if len(base) == 2 else base).numpy()
    growing, watching = (
        lightgbm.Dataset(inputs, labels, init_score=np.tile(start, (len(labels), 1)).squeeze())
        for inputs, labels in (learned, watched)
    )
    return lightgbm.train(
        {**GROWTH, **sizes, **objective, "learning_rate": rate, "seed": seed},
        growing,
        rounds,
        valid_sets=[watching.set_reference(growing)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


def _rounds(rows: int, columns: int, outputs: int) -> int:
    """Return the maximum number of rounds for one fold, of so many `outputs` in all divisions."""
    by_trees = MAX_TREES // (FOLDS * outputs)
    by_work = int(MAX_WORK / (FOLDS * outputs * max(1, columns) * (rows + HISTOGRAMS)))
    return min(MAX_ROUNDS, by_trees, by_work)


def _trees(booster: "Booster") -> Iterator[Tree]:
    """Yield the trees of `booster` up to its best round."""
    for tree in booster.dump_model(num_iteration=booster.best_iteration)["tree_info"]:
        yield _tree(tree["tree_structure"])


def _tree(root: Mapping[str, Any]) -> Tree:
    tree = Tree([], [], [], [])

    def add(node: Mapping[str, Any]) -> int:
        """Add a node, and return the bits of its leaves."""
        if "leaf_value" in node:
            tree.leaves.append(node["leaf_value"])
            return FIRST_LEAF >> (len(tree.leaves) - 1)
        of_left = add(node["left_child"])
        tree.features.append(node["split_feature"])
        tree.thresholds.append(node["threshold"])
        tree.masks.append(EVERY_LEAF - of_left)
        return of_left | add(node["right_child"])

    add(root)
    return tree
