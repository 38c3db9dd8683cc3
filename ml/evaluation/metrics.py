"""How good a trained model is on rows it has not seen: the figures of every epoch.

`ml.evaluation.evaluate` has all that is measured at a run's end.
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
from ml.signature import Classes, Signature, Value
from ml.units import to_units

BATCH_ROWS = 4096
BATCH_VALUES = BATCH_ROWS * 784
"""Bounds on the rows of a batch, and on the numbers in them."""

Result = TypeVar("Result")


@torch.inference_mode()
def outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the model's outputs `(rows, size)` for `inputs`, on the model's device, as float32,
    computed in large batches.

    The inputs may lie elsewhere: each batch is moved when it is due.
    """
    if model.training:  # to ask costs less than to set it on every layer
        model.eval()
    device = device_of(model, inputs)
    return in_batches(lambda batch: model(batch.to(device)).float(), inputs, device)


def in_batches(
    forward: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device | None = None
) -> Tensor:
    """Return what `forward` makes of `inputs`, in large batches."""
    if len(inputs) == 1:  # of a request, mostly, and there is nothing to halve
        return forward(inputs)
    parts = batchwise(forward, inputs, device=device)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def batchwise(
    compute: Callable[..., Result], *columns: Tensor, device: torch.device | None = None
) -> list[Result]:
    """Return what `compute` makes of each batch of `columns`, tensors of as many rows, of which the
    first is taken to be the largest.

    Where memory, of `device` or of the machine, is not enough for a batch, it is halved.

    Raises:
        RuntimeError: it is not enough for one row.
    """
    rows, results, start = len(columns[0]), [], 0
    size = batch_rows(columns[0])
    while start < max(rows, 1):
        # A batch of all rows is no view, since to make one takes as long as a small layer.
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
        # Only now is the error gone, and with it what was computed of the batch.
        devices.release_memory(device or columns[0].device)
    return results


def batch_rows(inputs: Tensor) -> int:
    """Return how many rows of `inputs` make a batch."""
    return max(1, min(BATCH_ROWS, BATCH_VALUES // max(1, math.prod(inputs.shape[1:]))))


def device_of(model: nn.Module, inputs: Tensor) -> torch.device:
    """Return where `model` lies; one without parameters is wherever its inputs are."""
    return next(model.parameters(), inputs).device


def evaluate(model: nn.Module, rows: Rows, signature: Signature, loss: Loss) -> dict[str, float]:
    """Return the loss and the metrics of the signature's output over `rows`.

    Values have `mse`, `mae`, `rmse` and `r2` (in the target's units, squared or plain; R² is at
    most 1); classes have `accuracy` (0 to 1). A metric that is undefined on these rows is left out.
    """
    answers = outputs(model, rows.inputs)
    targets = rows.targets.to(answers.device)
    figures = {"loss": loss(answers, targets)}
    if isinstance(output := signature.output, Value):
        answers, targets = to_units(answers, output), to_units(targets, output)
    figures |= {name: metric(answers, targets) for name, metric in _metrics(signature).items()}
    return {name: float(figure) for name, figure in figures.items() if torch.isfinite(figure)}


def value_metrics() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return the metrics of a regression by name, each of answers and targets of one shape."""
    # It takes over a second to import, which a process that only predicts can do without.
    from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

    def r2(values: Tensor, targets: Tensor) -> Tensor:
        # Where all targets are the same there is no variance to explain.
        if bool((targets == targets[0]).all()):
            return torch.tensor(torch.nan)
        # The library's takes sums of squares below 1e-4 for none, in whatever units they are.
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
        return value_metrics()
    from torchmetrics.functional.classification import multiclass_accuracy

    def accuracy(logits: Tensor, classes: Tensor) -> Tensor:
        return multiclass_accuracy(logits, classes, logits.shape[1], average="micro")

    return {"accuracy": accuracy}
