"""How `auto` trains: what a job on a table uses where its user names nothing."""

from collections.abc import Mapping
from typing import Any

from ml import trees
from ml.models import AutoSpec, TabMSpec
from ml.models.auto import PartnerName
from ml.models.linear_fits import affordable_rows
from ml.optimizers import AdamWSpec
from ml.schedules import ConstantSpec
from ml.signature import Signature

VALIDATION = 0.15
"""Share of the rows by which training is stopped and the members of a blend are weighted."""
BATCH_SIZES = {1_000: 32, 3_000: 64, 6_000: 128, 50_000: 256, 200_000: 512}
"""Batch sizes by the number of training rows up to which they are used."""
LARGEST_BATCH = 1024
MOST_EPOCHS = 200
MOST_STEPS = 30_000
FEWEST_VALIDATION_ROWS = 20
"""Number of rows below which these tell next to nothing, so that all are trained on."""
EPOCHS_UNWATCHED, STEPS_UNWATCHED = 20, 400
"""Epochs where no validation rows tell when to stop: so many, or more of few steps."""


def training(rows: int, is_watched: bool) -> Mapping[str, Any]:
    """Return the fields of a run on `rows` training rows; `is_watched` says whether there are
    validation rows."""
    batch_size = next((size for most, size in BATCH_SIZES.items() if rows <= most), LARGEST_BATCH)
    steps = -(-rows // batch_size)
    unwatched = max(EPOCHS_UNWATCHED, STEPS_UNWATCHED // steps)
    most = MOST_EPOCHS if is_watched else min(MOST_EPOCHS, unwatched)
    return {
        "batch_size": batch_size,
        "epochs": max(1, min(most, MOST_STEPS // steps)),
        "optimizer": AdamWSpec(lr=0.002, weight_decay=0.0003),
        "schedule": ConstantSpec(),
        "clip_grad_norm": 1.0,
        "patience": 16 if is_watched else None,
        "keep_best": is_watched,
        "precision": "float32",
    }


def model(asked: AutoSpec, rows: int, signature: Signature) -> AutoSpec:
    """Return `asked` with its defaults filled in for `rows` training rows."""
    width, output = signature.inputs.width, signature.output
    beside: list[PartnerName] = []
    if affordable_rows(rows, width, output):
        beside.append("linear")
    if trees.affordable_rows(rows, width, output.size):
        beside.append("trees")
    return AutoSpec(
        beside=beside if asked.beside is None else asked.beside, tabm=asked.tabm or TabMSpec()
    )
