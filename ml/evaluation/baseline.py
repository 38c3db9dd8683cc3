"""Baselines of a trained model: predictors so simple that a model must beat them to be of use.

They are fitted to the training rows as the model's network sees them, at the end of its training,
and saved beside it, because its data may be gone when it is evaluated on other rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ml.datasets import Rows
from ml.errors import Damaged
from ml.evaluation.metrics import batchwise, value_metrics
from ml.evaluation.schemas import (
    ClassBaseline,
    ClassFigures,
    TargetBaseline,
    ValueBaseline,
    ValueFigures,
    ValuesBaseline,
)
from ml.integrity import holds, read_file
from ml.models.linear_fits import Affine, affordable_rows, linear_fit
from ml.signature import Classes, Signature, Value, Values
from ml.units import to_units

BASELINE = "baseline.safetensors"


@dataclass(frozen=True)
class Baseline:
    """The fitted baselines of a model."""

    constant: Tensor
    """Mean of each training target on the network's scale `(targets,)`, float64, or share of each
    class among the training rows `(classes,)`, float64."""
    linear: Affine | None
    """Linear model of the network's inputs; None if they are too many for a fit in bounded time."""
    linear_rows: int
    """Number of training rows that the linear model was fitted to."""

    def file(self) -> bytes:
        """Return the content of the file `BASELINE`."""
        tensors = {
            "constant": self.constant,
            "linear_rows": torch.tensor(self.linear_rows, dtype=torch.int64),
        }
        if self.linear is not None:
            tensors |= {"weights": self.linear.weights, "bias": self.linear.bias}
        return save({name: tensor.contiguous() for name, tensor in tensors.items()})

    @classmethod
    def load(cls, directory: Path, signature: Signature) -> "Baseline | None":
        """Load the baselines of the model in `directory`, which has `signature`; None if an earlier
        version saved it.

        Raises:
            Damaged: the file is missing, is not as it was written, or is that of another model.
        """
        if not holds(directory, BASELINE):
            return None
        data = read_file(directory, BASELINE)
        try:
            found = load(data)
            linear = Affine(found["weights"], found["bias"]) if "weights" in found else None
            baseline = cls(found["constant"], linear, int(found["linear_rows"].item()))
            baseline._check(signature)
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise Damaged(directory / BASELINE, f"cannot be read: {error}") from error
        return baseline

    def _check(self, signature: Signature) -> None:
        size = signature.output.size
        wanted: list[tuple[Tensor, tuple[int, ...]]] = [(self.constant, (size,))]
        if self.linear is not None:
            weights = (signature.inputs.width, size)
            wanted += [(self.linear.weights, weights), (self.linear.bias, (size,))]
        for tensor, shape in wanted:
            if tensor.shape != shape or not tensor.is_floating_point():
                given = f"{tuple(tensor.shape)} of {tensor.dtype}"
                raise ValueError(f"an array has the shape {given}; right is {shape} of floats")


def fit_baseline(train: Rows, preprocessing: nn.Module, signature: Signature) -> Baseline:
    """Return the baselines of a model of `train`, whose `preprocessing` and rows are on the CPU.

    The linear model is a ridge regression of values, or a logistic regression of classes. Of more
    rows than its bounds allow, it is fitted to evenly spaced ones.
    """
    output = signature.output
    if not isinstance(output, Classes):
        constant = train.targets.double().mean(0)
    else:
        constant = torch.bincount(train.targets, minlength=output.size).double() / len(train)
    rows = affordable_rows(len(train), signature.inputs.width, output)
    if not rows:
        return Baseline(constant, None, 0)
    chosen = train.spaced(rows)
    with torch.inference_mode(False), torch.no_grad():
        inputs = torch.cat(batchwise(_encoder(preprocessing), chosen.inputs))
        linear = linear_fit(inputs, chosen.targets, output)
    return Baseline(constant, linear, rows if linear else 0)


@torch.inference_mode()
def evaluate_baseline(
    baseline: Baseline,
    preprocessing: nn.Module,
    rows: Rows,
    signature: Signature,
    between_batches: Callable[[], None] = lambda: None,
) -> ValueBaseline | ClassBaseline:
    """Evaluate the baselines of a model with `signature` on `rows`; both are on the CPU.

    `between_batches` is called before each batch; an exception it raises ends the evaluation.
    """
    output = signature.output
    outputs = None
    if (linear := baseline.linear) is not None:
        encode = _encoder(preprocessing)

        def forward(inputs: Tensor) -> Tensor:
            between_batches()
            return linear(encode(inputs))

        outputs = torch.cat(batchwise(forward, rows.inputs))
    rows_used = baseline.linear_rows if outputs is not None else None
    if isinstance(output, Classes):
        shares = baseline.constant.log().expand(len(rows), -1)
        return ClassBaseline(
            majority=_class_figures(shares, rows.targets),
            linear=None if outputs is None else _class_figures(outputs, rows.targets),
            linear_rows=rows_used,
        )
    means = _value_figures(baseline.constant.expand(len(rows), -1), rows.targets, output)
    lines = None if outputs is None else _value_figures(outputs, rows.targets, output)
    if isinstance(output, Value):
        return ValueBaseline(
            mean=means[0], linear=None if lines is None else lines[0], linear_rows=rows_used
        )
    by_target = {
        target.name: TargetBaseline(mean=mean, linear=line)
        for target, mean, line in zip(output.targets, means, lines or repeat(None), strict=False)
    }
    return ValuesBaseline(
        mean=ValueFigures.mean_of(means),
        linear=None if lines is None else ValueFigures.mean_of(lines),
        linear_rows=rows_used,
        targets=by_target,
    )


def _encoder(preprocessing: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda inputs: preprocessing(inputs).flatten(1)


def _value_figures(outputs: Tensor, targets: Tensor, output: Value | Values) -> list[ValueFigures]:
    """Return the metrics of each target."""
    predicted, actual = (to_units(values, output).unbind(1) for values in (outputs, targets))
    return [
        ValueFigures(**{name: _finite(metric(*pair)) for name, metric in value_metrics().items()})
        for pair in zip(predicted, actual, strict=True)
    ]


def _class_figures(logits: Tensor, classes: Tensor) -> ClassFigures:
    likelihoods = logits.double().log_softmax(1).gather(1, classes[:, None])
    return ClassFigures(
        accuracy=(logits.argmax(1) == classes).double().mean().item(),
        log_loss=_finite(-likelihoods.mean()),
    )


def _finite(figure: Tensor) -> float | None:
    number = figure.item()
    return number if math.isfinite(number) else None
