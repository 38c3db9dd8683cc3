"""Losses: their specs, and the outputs they apply to.

Training may weight and smooth classes. All other rows are measured by the plain loss of the same
kind, so that validation and test losses are comparable between specs.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import (
    ConfigDict,
    Field,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from torch import Tensor
from torch.nn import functional

from ml.errors import Invalid
from ml.ingest.warning import listed
from ml.signature import Classes, Output, Signature
from ml.strict import ByKind, Strict, at_most

LossName = Literal["mse", "mae", "huber", "cross_entropy"]
Loss = Callable[..., Tensor]
"""Maps outputs `(rows, size)` and targets to the mean loss `()`; with `reduction="none"` to that of
each row of classes, or of each value `(rows, size)`."""

LOSSES: dict[LossName, Loss] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
    "cross_entropy": functional.cross_entropy,
}
"""Losses with their default options."""

# The first loss of each output is its default.
LOSSES_FOR: dict[Literal["value", "values", "classes"], tuple[LossName, ...]] = {
    "value": ("mse", "mae", "huber"),
    "values": ("mse", "mae", "huber"),
    "classes": ("cross_entropy",),
}
MAX_WEIGHTS = 100_000

Weight = Annotated[float, Field(ge=1e-6, le=1e6)]
_WEIGHTS: TypeAdapter[dict[str, float]] = TypeAdapter(
    Annotated[dict[str, Weight], at_most(MAX_WEIGHTS, "weights")],
    config=ConfigDict(strict=True, allow_inf_nan=False),
)


def _read_weights(value: object, _: ValidatorFunctionWrapHandler) -> object:
    # Otherwise each error would be reported for both members of the union.
    if isinstance(value, dict):
        return _WEIGHTS.validate_python(value)
    if value != "balanced":
        raise ValueError('must be "balanced", or the weight of every class by name')
    return value


BalancedOrEach = Annotated[Literal["balanced"] | dict[str, Weight], WrapValidator(_read_weights)]


class MSESpec(Strict):
    """Mean squared error."""

    kind: Literal["mse"] = "mse"

    @property
    def measure(self) -> Loss:
        """Loss of validation and test rows."""
        return LOSSES["mse"]


class MAESpec(Strict):
    """Mean absolute error."""

    kind: Literal["mae"] = "mae"

    @property
    def measure(self) -> Loss:
        """Loss of validation and test rows."""
        return LOSSES["mae"]


class HuberSpec(Strict):
    """Half the squared error up to `delta`, and beyond it `delta` times the absolute error less
    `delta / 2` (Huber 1964). The error of a target that is standardised for training is in standard
    deviations."""

    kind: Literal["huber"] = "huber"
    delta: float = Field(
        default=1.0,
        ge=1e-6,
        le=1e6,
        description="Error above which the loss grows linearly; of an uploaded table, in standard "
        "deviations of the target.",
    )

    @property
    def measure(self) -> Loss:
        """Loss of validation and test rows."""
        return partial(functional.huber_loss, delta=self.delta)


class CrossEntropySpec(Strict):
    """Cross-entropy of the classes. Its options act on training rows only."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each target that is spread evenly over all classes.",
    )
    class_weights: BalancedOrEach | None = Field(
        default=None,
        description="Weight of the rows of each class by name, or `balanced`: the number of "
        "training rows divided by the number of classes among them and by the number of rows of "
        "the class. The loss is the weighted mean.",
        examples=["balanced", {"cat": 1, "dog": 2.5}],
    )

    @property
    def measure(self) -> Loss:
        """Loss of validation and test rows, which are neither weighted nor smoothed."""
        return LOSSES["cross_entropy"]

    def check_classes(self, names: list[str]) -> None:
        """Check that every class has a weight, and every weight a class.

        Raises:
            Invalid: one has none; `loc` is within the spec.
        """
        if not isinstance(self.class_weights, dict):
            return
        known = set(names)
        if unknown := [name for name in self.class_weights if name not in known]:
            raise Invalid(
                f"no class is called {listed(unknown)}; the classes are {listed(names)}",
                ("class_weights",),
            )
        if missing := [name for name in names if name not in self.class_weights]:
            raise Invalid(
                f"has no weight for {listed(missing)}; every class needs one", ("class_weights",)
            )


LossSpec = Annotated[MSESpec | MAESpec | HuberSpec | CrossEntropySpec, ByKind()]


class SoftCrossEntropy:
    """Cross-entropy of weighted and smoothed classes, as `torch.nn.CrossEntropyLoss` of all
    training rows at once: the sum over rows is divided by their number times the mean weight of the
    training rows, not by the weights of a batch, so that each row counts the same in every batch.
    """

    def __init__(self, weights: Tensor, smoothing: float) -> None:
        """`weights` `(classes,)` have a mean of 1 over the training rows."""
        self._spread = weights * (smoothing / len(weights))
        self._right = weights * (1 - smoothing) + self._spread

    def soft_targets(self, targets: Tensor) -> Tensor:
        """Return what the negative log-probability of each class counts, `(rows, classes)`."""
        soft = self._spread.repeat(len(targets), 1)
        return soft.scatter_(1, targets[:, None], self._right.index_select(0, targets)[:, None])

    def of_logs(self, logs: Tensor, soft_targets: Tensor) -> Tensor:
        """Return the mean loss `()` of log-probabilities `(rows, classes)`."""
        return (logs * soft_targets).sum() / -len(logs)

    def __call__(
        self, outputs: Tensor, targets: Tensor, reduction: Literal["mean", "none"] = "mean"
    ) -> Tensor:
        """Return the mean loss `()` of logits, or the loss of each row."""
        logs, soft = torch.log_softmax(outputs.float(), 1), self.soft_targets(targets)
        return self.of_logs(logs, soft) if reduction == "mean" else -(logs * soft).sum(1)


def training_loss(spec: LossSpec, targets: Tensor, output: Output, device: torch.device) -> Loss:
    """Return the loss on `device` of training rows that have `targets`."""
    if not isinstance(spec, CrossEntropySpec) or not isinstance(output, Classes):
        return spec.measure
    weights = class_weights(spec, targets, output)
    if weights is None:
        if not spec.label_smoothing:
            return spec.measure
        weights = torch.ones(output.size)
    return SoftCrossEntropy(weights.float().to(device), spec.label_smoothing)


def class_weights(spec: LossSpec, targets: Tensor, output: Output) -> Tensor | None:
    """Return what a row of each class counts in the loss of training rows that have `targets`,
    `(classes,)` float64 with a mean of 1 over these rows; None if all count the same."""
    if not isinstance(spec, CrossEntropySpec) or not isinstance(output, Classes):
        return None
    if spec.class_weights is None:
        return None
    counts = torch.bincount(targets.cpu(), minlength=output.size).double()
    if spec.class_weights == "balanced":
        present = counts > 0
        weights = torch.where(present, counts.sum() / (present.sum() * counts), 0.0)
    else:
        weights = counts.new_tensor([spec.class_weights[name] for name in output.names])
    return weights * (len(targets) / (weights * counts).sum())


def losses_for(signature: Signature) -> tuple[LossName, ...]:
    """Return the losses that fit the signature's output, the default first."""
    return LOSSES_FOR[signature.output.kind]
