"""Metrics computed after every epoch.

`ml.evaluation.evaluate` computes the full evaluation at the end of a run.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from ml import devices
from ml.datasets import Rows
from ml.losses import Loss
from ml.signature import Classes, Signature
from ml.units import to_units

BATCH_ROWS = 4096
BATCH_VALUES = BATCH_ROWS * 784
"""Bounds on the rows and the numbers of a batch."""

Result = TypeVar("Result")


@torch.inference_mode()
def outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the model's float32 outputs `(rows, size)` for `inputs`, computed in large batches on
    the model's device.

    Batches are moved to that device one at a time.
    """
    if model.training:  # the check is cheaper than setting the mode of every layer
        model.eval()
    device = device_of(model, inputs)
    return in_batches(lambda batch: model(batch.to(device)).float(), inputs, device)


def in_batches(
    forward: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device | None = None
) -> Tensor:
    """Return `forward(inputs)`, computed in large batches."""
    if len(inputs) == 1:  # the usual request; it cannot be halved
        return forward(inputs)
    parts = batchwise(forward, inputs, device=device)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def batchwise(
    compute: Callable[..., Result], *columns: Tensor, device: torch.device | None = None
) -> list[Result]:
    """Apply `compute` to each batch of `columns`, tensors with equal numbers of rows; return the
    results. The batch size is derived from the first column.

    A batch that runs out of memory, of `device` or of the machine, is halved.

    Raises:
        RuntimeError, MemoryError: memory does not suffice for one row, or `compute` failed.
    """
    rows, results, start = len(columns[0]), [], 0
    size = batch_rows(columns[0])
    while start < max(rows, 1):
        # All rows in one batch are not sliced: a view takes as long as a small layer.
        batch = columns if size >= rows else [column[start : start + size] for column in columns]
        try:
            results.append(compute(*batch))
        except (RuntimeError, MemoryError) as error:
            size = min(size, rows - start) // 2
            if not size or not devices.is_out_of_memory(error):
                raise
        else:
            start += size
            continue
        # Here the error is gone, and with it the intermediate results of the batch.
        devices.release_memory(device or columns[0].device)
    return results


def batch_rows(inputs: Tensor) -> int:
    """Return the number of rows of `inputs` in a batch."""
    return max(1, min(BATCH_ROWS, BATCH_VALUES // max(1, math.prod(inputs.shape[1:]))))


def device_of(model: nn.Module, inputs: Tensor) -> torch.device:
    """Return the device of `model`, or of `inputs` if it has no parameters."""
    return next(model.parameters(), inputs).device


def evaluate(model: nn.Module, rows: Rows, signature: Signature, loss: Loss) -> dict[str, float]:
    """Return the loss and the metrics of the model over `rows`.

    Values have `mse` (squared target units), `mae`, `rmse` (target units) and `r2` (at most 1), of
    several targets the mean of those of each; classes have `accuracy` (0 to 1). Metrics that are
    undefined on these rows are left out.
    """
    answers = outputs(model, rows.inputs)
    targets = rows.targets.to(answers.device)
    figures = {"loss": loss(answers, targets)}
    if not isinstance(output := signature.output, Classes):
        answers, targets = to_units(answers, output), to_units(targets, output)
    figures |= {name: metric(answers, targets) for name, metric in _metrics(signature).items()}
    return {name: float(figure) for name, figure in figures.items() if torch.isfinite(figure)}


def value_metrics() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return the metrics of one target of a regression by name, functions of outputs and targets
    `(rows,)`."""
    # Imported here because it takes over a second and predicting does not need it.
    from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

    def r2(values: Tensor, targets: Tensor) -> Tensor:
        # Equal targets have no variance to explain.
        if bool((targets == targets[0]).all()):
            return targets.new_tensor(torch.nan)
        # torchmetrics treats sums of squares below 1e-4 as zero, regardless of units.
        unexplained = (targets - values).square().sum()
        return 1 - unexplained / (targets - targets.mean()).square().sum()

    return {
        "mse": mean_squared_error,
        "mae": mean_absolute_error,
        "rmse": partial(mean_squared_error, squared=False),
        "r2": r2,
    }


def _metrics(signature: Signature) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    if not isinstance(signature.output, Classes):
        return {name: _mean_over_targets(metric) for name, metric in value_metrics().items()}
    from torchmetrics.functional.classification import multiclass_accuracy

    def accuracy(logits: Tensor, classes: Tensor) -> Tensor:
        return multiclass_accuracy(logits, classes, logits.shape[1], average="micro")

    return {"accuracy": accuracy}


def _mean_over_targets(metric: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def mean(values: Tensor, targets: Tensor) -> Tensor:
        columns = zip(values.unbind(1), targets.unbind(1), strict=True)
        return torch.stack([metric(*pair) for pair in columns]).mean()

    return mean
