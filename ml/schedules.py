"""Learning-rate schedules and the specs that build them."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Optimizer, lr_scheduler

from ml.strict import ByKind, Strict

Factor = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=1e6)]
Warmup = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="Share of the steps in which the learning rate rises to that of the schedule.",
    ),
]

FEWEST_OF_A_CYCLE = 2
"""Fewest steps of `one_cycle`: the last has almost no learning rate."""


class Schedule:
    """A torch learning-rate scheduler together with its interval, a step or an epoch, and a linear
    warm-up.

    It is separate from the optimizer, since an engine may need the rates of future steps.
    """

    def __init__(
        self,
        lr: float,
        every: Literal["step", "epoch"],
        make: Callable[[Optimizer], lr_scheduler.LRScheduler] | None = None,
        warmup_steps: int = 0,
    ) -> None:
        """In the first `warmup_steps` the rate of the scheduler is multiplied by a factor that
        rises to 1 in equal parts."""
        self.every = every
        self._rate = SGD([nn.Parameter(torch.empty(0))], lr=lr)
        self._scheduler = make(self._rate) if make else None
        self._warmup_steps = warmup_steps
        self._steps_done = 0

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        if self._steps_done >= self._warmup_steps:
            return self._scheduled
        return self._scheduled * (self._steps_done + 1) / (self._warmup_steps + 1)

    @property
    def _scheduled(self) -> float:
        return float(self._rate.param_groups[0]["lr"])

    def after_step(self) -> None:
        """Advance the schedule after a step."""
        self._steps_done += 1
        if self._scheduler and self.every == "step":
            self._advance()

    def after_epoch(self, loss: float) -> None:
        """Advance the schedule after an epoch; `loss` is the monitored loss."""
        if self._scheduler and self.every == "epoch":
            self._advance(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state."""
        state = self._scheduler.state_dict() if self._scheduler else {}
        return {"lr": self._scheduled, "scheduler": state, "steps_done": self._steps_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self._rate.param_groups[0]["lr"] = state["lr"]
        # Checkpoints of earlier versions have no warm-up to continue.
        self._steps_done = state.get("steps_done", 0)
        if self._scheduler:
            self._scheduler.load_state_dict(state["scheduler"])

    def _advance(self, loss: float = math.nan) -> None:
        assert self._scheduler
        self._rate.step()  # a scheduler requires its optimizer to step first
        if isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            self._scheduler.step(loss)
        else:
            self._scheduler.step()


class Scheduling(Protocol):
    """Interface of the schedule specs."""

    def build(self, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of a whole run whose optimizer has the learning rate `lr`."""


def _warmup_steps(warmup: float, epochs: int, steps_per_epoch: int) -> int:
    """Return the number of steps of a warm-up: at least one if there is any."""
    return max(1, round(warmup * epochs * steps_per_epoch)) if warmup else 0


class Cosine(lr_scheduler.CosineAnnealingLR):
    """`CosineAnnealingLR`, but each rate is computed from its step alone: torch's recursion divides
    by 0 near the end of 300 million steps."""

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of the next step, of the only group of parameters."""
        half = math.pi * min(self.last_epoch, self.T_max) / self.T_max
        [lr] = self.base_lrs
        return [self.eta_min + (lr - self.eta_min) * (1 + math.cos(half)) / 2]


class ConstantSpec(Strict):
    """A constant learning rate."""

    kind: Literal["constant"] = "constant"
    warmup: Warmup = 0.0

    def build(self, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule."""
        return Schedule(
            lr, "epoch", warmup_steps=_warmup_steps(self.warmup, epochs, steps_per_epoch)
        )


class StepSpec(Strict):
    """The rate is multiplied by `gamma` every `step_size` epochs."""

    kind: Literal["step"] = "step"
    step_size: int = Field(default=10, ge=1)
    gamma: Factor = 0.1
    warmup: Warmup = 0.0

    def build(self, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule."""
        return Schedule(
            lr,
            "epoch",
            lambda rate: lr_scheduler.StepLR(rate, self.step_size, self.gamma),
            _warmup_steps(self.warmup, epochs, steps_per_epoch),
        )


class CosineSpec(Strict):
    """The rate decays along half a cosine to `min_lr` (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    min_lr: Rate = 0.0
    warmup: Warmup = 0.0

    def build(self, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule."""
        steps = epochs * steps_per_epoch
        return Schedule(
            lr,
            "step",
            lambda rate: Cosine(rate, steps, self.min_lr),
            _warmup_steps(self.warmup, epochs, steps_per_epoch),
        )


class OneCycleSpec(Strict):
    """The rate rises to the optimizer's `lr`, then falls far below it (Smith & Topin 2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    warmup: Factor = Field(
        default=0.3, description="Share of the steps in which the learning rate rises."
    )

    def build(self, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule; a single step, which only the sizes of groups can leave, has the
        rate `lr`."""
        steps = epochs * steps_per_epoch
        if steps < FEWEST_OF_A_CYCLE:
            return Schedule(lr, "step")
        # Where the first step is the peak, torch divides 0 by 0, or rounding decides its rate.
        peaks_at_once = math.isclose(self.warmup * steps, 1)
        warmup = self.warmup * (1 - 1e-8) if peaks_at_once else self.warmup
        return Schedule(
            lr,
            "step",
            lambda rate: lr_scheduler.OneCycleLR(
                rate,
                max_lr=lr,
                total_steps=steps,
                pct_start=warmup,
                # Momentum is left to the optimizer.
                cycle_momentum=False,
            ),
        )


class PlateauSpec(Strict):
    """The rate is multiplied by `factor` after more than `patience` epochs without a validation
    loss (training loss if there is no validation split) that is lower by more than `threshold`."""

    kind: Literal["plateau"] = "plateau"
    factor: Factor = 0.1
    patience: int = Field(default=5, ge=0)
    threshold: float = Field(
        default=0.0,
        ge=0,
        le=1e30,
        description="Minimum decrease of the loss that `patience` counts as an improvement, as the "
        "job's `min_delta` is for its own `patience`.",
    )
    min_lr: Rate = 0.0
    warmup: Warmup = 0.0

    def build(self, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule."""
        return Schedule(
            lr,
            "epoch",
            lambda rate: lr_scheduler.ReduceLROnPlateau(
                rate,
                factor=self.factor,
                patience=self.patience,
                threshold=self.threshold,
                # By default, torch takes a share of the loss.
                threshold_mode="abs",
                min_lr=self.min_lr,
                # By default, torch leaves rates of 1e-8 and below as they are.
                eps=0.0,
            ),
            _warmup_steps(self.warmup, epochs, steps_per_epoch),
        )


ScheduleSpec = Annotated[
    ConstantSpec | StepSpec | CosineSpec | OneCycleSpec | PlateauSpec, ByKind()
]
