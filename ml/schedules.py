"""Learning-rate schedules, each built from the spec that names it."""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field
from torch.optim import Optimizer, lr_scheduler

from ml.strict import Strict

Factor = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=1e6)]


class Schedule:
    """A torch scheduler that knows when it is due: after a step, or after an epoch."""

    def __init__(
        self, scheduler: lr_scheduler.LRScheduler | None, every: Literal["step", "epoch"]
    ) -> None:
        self._scheduler = scheduler
        self._every = every

    def after_step(self) -> None:
        """Note that the optimizer has stepped."""
        if self._scheduler and self._every == "step":
            self._scheduler.step()

    def after_epoch(self, loss: float) -> None:
        """Note that an epoch is over, with the `loss` that is watched."""
        if isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            self._scheduler.step(loss)
        elif self._scheduler and self._every == "epoch":
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return all that its future depends on."""
        return self._scheduler.state_dict() if self._scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        if self._scheduler:
            self._scheduler.load_state_dict(state)


class Scheduling(Protocol):
    """What every schedule's spec can do."""

    def build(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of `optimizer` over a whole run."""


class ConstantSpec(Strict):
    """The learning rate stays what it is."""

    kind: Literal["constant"] = "constant"

    def build(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of `optimizer`."""
        return Schedule(None, "epoch")


class StepSpec(Strict):
    """The rate is multiplied by `gamma` every `step_size` epochs."""

    kind: Literal["step"] = "step"
    step_size: int = Field(default=10, ge=1)
    gamma: Factor = 0.1

    def build(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of `optimizer`."""
        return Schedule(lr_scheduler.StepLR(optimizer, self.step_size, self.gamma), "epoch")


class CosineSpec(Strict):
    """The rate falls along half a cosine to `min_lr` at the end (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    min_lr: Rate = 0.0

    def build(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of `optimizer`."""
        steps = epochs * steps_per_epoch
        return Schedule(lr_scheduler.CosineAnnealingLR(optimizer, steps, self.min_lr), "step")


class OneCycleSpec(Strict):
    """The rate rises to the optimizer's `lr`, then falls far below it (Smith & Topin 2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    warmup: Factor = Field(default=0.3, description="Share of the steps in which it rises.")

    def build(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of `optimizer`."""
        scheduler = lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            pct_start=self.warmup,
            # The momentum is the optimizer's own affair.
            cycle_momentum=False,
        )
        return Schedule(scheduler, "step")


class PlateauSpec(Strict):
    """The rate is multiplied by `factor` when the watched loss has not fallen for `patience`
    epochs: the validation split's, or without one that of the training rows."""

    kind: Literal["plateau"] = "plateau"
    factor: Factor = 0.1
    patience: int = Field(default=5, ge=0)
    min_lr: Rate = 0.0

    def build(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """Return the schedule of `optimizer`."""
        scheduler = lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=self.factor, patience=self.patience, min_lr=self.min_lr
        )
        return Schedule(scheduler, "epoch")


ScheduleSpec = Annotated[
    ConstantSpec | StepSpec | CosineSpec | OneCycleSpec | PlateauSpec, Field(discriminator="kind")
]
