"""Rules across the fields of a spec that decide whether it can be trained, checked before its data
is loaded."""

from collections.abc import Sequence

from torch import nn

from ml.datasets.division import held_out, training_sizes
from ml.errors import Invalid
from ml.models import blueprint
from ml.schedules import FEWEST_OF_A_CYCLE, CosineSpec, PlateauSpec
from ml.specs import TrainingSpec
from ml.training.fit_curves import MAX_CURVES, has_curve


def check(spec: TrainingSpec) -> None:
    """Check that a spec can be trained, as far as its data's number of rows tells.

    Raises:
        Invalid: it cannot; `loc` is within the spec.
    """
    sizes = training_sizes(spec.dataset.row_counts(), spec.split)
    _check_lowest_rate(spec)
    _check_cycle(spec, sizes)
    _check_test_rows(spec)
    _check_snapshots(spec)
    lonely = [rows for rows in sizes if _leaves_one(rows, spec.batch_size)]
    if lonely:
        check_last_batch(
            blueprint(spec.model, spec.dataset.signature()), lonely[0], spec.batch_size
        )


def check_last_batch(model: nn.Module, rows: int, batch_size: int) -> None:
    """Check that no batch of a network with batch normalisation has a single row.

    Raises:
        Invalid: the last one of `rows` training rows has; `loc` is within the spec.
    """
    normalised = any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()
    )
    if normalised and _leaves_one(rows, batch_size):
        raise Invalid(
            f"batches of {batch_size:,} leave one of {rows:,} training rows for the last batch, "
            "and batch normalisation needs at least two; choose another size",
            ("batch_size",),
        )


def _leaves_one(rows: int, batch_size: int) -> bool:
    return 1 in (batch_size, rows % batch_size)


def _check_lowest_rate(spec: TrainingSpec) -> None:
    schedule, lr = spec.schedule, spec.optimizer.lr
    if isinstance(schedule, CosineSpec | PlateauSpec) and schedule.min_lr > lr:
        raise Invalid(
            f"{schedule.kind} lowers the learning rate from the optimizer's lr, {lr:g}, to min_lr, "
            f"which is above it: {schedule.min_lr:g}; choose at most {lr:g}",
            ("schedule", "min_lr"),
        )


def _check_test_rows(spec: TrainingSpec) -> None:
    row_counts, split = spec.dataset.row_counts(), spec.split
    # The values of a column decide at the earliest once the rows are loaded.
    if not spec.test_every or row_counts.has_test_split or split.column is not None:
        return
    if not held_out(row_counts, split)[1]:
        raise Invalid(
            "this split has no test rows to measure on; choose 0, or hold some out by split.test",
            ("test_every",),
        )


def _check_snapshots(spec: TrainingSpec) -> None:
    if (every := spec.snapshot_every) is None:
        return
    place = ("snapshot_every",)
    if not has_curve(spec.dataset.signature()):
        raise Invalid("only a regression of one number has a fit to draw; leave it out", place)
    if (curves := spec.epochs // every) > MAX_CURVES:
        raise Invalid(
            f"{spec.epochs:,} epochs would have {curves:,} curves, and a chart has room for "
            f"{MAX_CURVES}; choose at least {-(-spec.epochs // MAX_CURVES):,}",
            place,
        )


def _check_cycle(spec: TrainingSpec, sizes: Sequence[int]) -> None:
    steps = min((spec.epochs * -(-rows // spec.batch_size) for rows in sizes), default=None)
    if spec.schedule.kind == "one_cycle" and steps is not None and steps < FEWEST_OF_A_CYCLE:
        raise Invalid(
            "one_cycle raises and lowers the learning rate over the steps of a run, and this run "
            f"has {steps}; choose more epochs, a smaller batch_size, or constant",
            ("schedule",),
        )
