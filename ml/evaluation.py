"""How good a trained model is on rows it has not seen: the figures of every epoch.

`ml.assessment` has all that is measured at a run's end.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ml.datasets import Rows
from ml.losses import Loss
from ml.signature import Classes, Signature, Value
from ml.units import to_units

BATCH_SIZE = 4096


@torch.inference_mode()
def outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the model's outputs `(rows, size)` for `inputs`, computed in large batches."""
    if model.training:  # to ask costs less than to set it on every layer
        model.eval()
    device = next(model.parameters(), inputs).device
    return in_batches(lambda batch: model(batch.to(device)), inputs)


def in_batches(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return what `forward` makes of `inputs`, in large batches."""
    if len(inputs) <= BATCH_SIZE:
        return forward(inputs)
    return torch.cat([forward(batch) for batch in torch.split(inputs, BATCH_SIZE)])


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
