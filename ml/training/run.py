"""The complete state of a training run between two steps."""

import math
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from ml.averaging import Average
from ml.datasets import Dataset
from ml.errors import Diverged
from ml.losses import training_loss
from ml.models import FittedNetwork
from ml.specs import TrainingSpec
from ml.training import divergence
from ml.training.batches import Placement, place
from ml.training.feasibility import check_last_batch
from ml.training.fit_curves import FitCurves
from ml.training.initial_model import encoded
from ml.training.time_budget import TimeBudget

StopReason = Literal["patience", "max_seconds"]


@dataclass
class Progress:
    """Position of a run, and running sums for its next reports."""

    epoch: int = 1
    """Number of the current or next epoch."""
    batch: int = 0
    """Completed batches of the current epoch."""
    step: int = 0
    epoch_loss: float = 0.0
    """Sum of the losses over the rows of this epoch."""
    recent_loss: float = 0.0
    """Sum of the losses over the steps since the last step report."""
    recent_steps: int = 0
    lr: float = math.nan
    """Learning rate of the last step."""
    best_loss: float = math.inf
    """Lowest monitored loss of an epoch."""
    best_epoch: int = 0
    """Epoch with the lowest monitored loss; 0 before the first."""
    patience_loss: float = math.inf
    """Monitored loss that another must undercut by `min_delta` to count as an improvement."""
    patience_epoch: int = 0
    """Epoch of the last improvement."""
    stopped_by: StopReason | None = None
    """Reason why the run stopped before its last step; None if it did not."""


class Run:
    """A training run between two steps: the model and all state that determines its continuation.

    Raises:
        Invalid: the model cannot be trained with the spec's batch size.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        spec: TrainingSpec,
        device: torch.device,
        placement: Placement | None = None,
    ) -> None:
        self.spec = spec
        self.data = data
        self.signature = data.signature
        self.device = device
        self.model = model.to(device)
        if device.type == "cuda" and spec.precision != "float32":
            # Tensor cores require channels-last memory.
            self.model = self.model.to(memory_format=torch.channels_last)
        check_last_batch(model, len(data.train), spec.batch_size)
        test = data.test if spec.test_every else None
        watched = [rows for rows in (data.train, data.validation, test) if rows is not None]
        self.placement = placement or place(sum(rows.nbytes for rows in watched), device)
        where = device if self.placement == "resident" else torch.device("cpu")
        self.train = data.train.to(where)
        self.validation = data.validation.to(where) if data.validation else None
        self.test = test.to(where) if test else None
        """Test rows, if they are measured while training."""
        self.loss_of = training_loss(spec.loss, data.train.targets, self.signature.output, device)
        """Loss of training rows, weighted and smoothed if the spec says so."""
        self.optimizer = spec.optimizer.build(self.model.parameters())
        self.average = Average(self.model, spec.average) if spec.average else None
        self.schedule = spec.schedule.build(
            spec.optimizer.lr, spec.epochs, steps_per_epoch(spec, data)
        )
        self.order = Generator().manual_seed(spec.seed)
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] | None = None
        self.fit_curves = FitCurves(data, spec)
        self.time_budget = TimeBudget(spec)
        network = self.model.get_submodule("network")
        if spec.compile:
            # Earlier compilations count towards a limit above which torch silently stops compiling.
            torch._dynamo.reset()
        self._network = torch.compile(network) if spec.compile else network

    @property
    def result(self) -> nn.Module:
        """Model that the run is about to learn: `model`, or its average once there is one."""
        return self.average.model if self.average and self.average.count else self.model

    def encode(self, inputs: Tensor) -> Tensor:
        """Apply the model's preprocessing to raw `inputs` (rows, ...)."""
        encoded: Tensor = self.model.get_submodule("preprocessing")(inputs)
        return encoded

    def loss(self, encoded: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `()` of encoded inputs, computed in the spec's precision."""
        with self.autocast():
            outputs: Tensor = self._network(encoded)
            if outputs.dim() == 3:  # those of the members of an ensemble
                targets = targets.repeat_interleave(outputs.shape[1], dim=0)
                outputs = outputs.flatten(0, 1)
            return self.loss_of(outputs, targets)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the autocast context of the spec's precision."""
        return autocast(self.spec, self.device)

    def epoch_order(self) -> Tensor:
        """Return the row order `(rows,)` of the current epoch; it is stable until `end_epoch`."""
        before = self.order.get_state()
        order = torch.randperm(len(self.train), generator=self.order)
        self._order_after = self.order.get_state()
        self.order.set_state(before)
        return order

    def diagnose(self, loss: Tensor, inputs: Tensor, step: int) -> Diverged:
        """Return the error for step number `step`, whose `loss` on raw `inputs` is not finite."""
        with self.autocast():
            return divergence.diagnose(loss, self.model, inputs, self.where(step))

    def where(self, step: int) -> str:
        """Name step number `step` of the current epoch for error messages."""
        return f"epoch {self.progress.epoch}, step {step}"

    @property
    def batches_left(self) -> int:
        """Number of remaining batches in the current epoch."""
        return steps_per_epoch(self.spec, self.data) - self.progress.batch

    def add_loss(self, loss: float, step: int) -> None:
        """Add the loss of step number `step`, in the current epoch, to the sums."""
        progress = self.progress
        rows_before = self._batch_of(step) * self.spec.batch_size
        progress.epoch_loss += loss * (self.rows_seen(step) - rows_before)
        progress.recent_loss += loss
        progress.recent_steps += 1

    def is_reported(self, step: int) -> bool:
        """Return whether step number `step`, in the current epoch, has a report: that of its first
        batch and every `report_every` after it."""
        every = self.spec.report_every
        # An epoch of one batch has the report of the epoch.
        if every > 1 and self.spec.batch_size >= len(self.train):
            return False
        return self._batch_of(step) % every == 0

    def rows_seen(self, step: int) -> int:
        """Return the number of the epoch's rows in the batches up to step number `step`."""
        return min((self._batch_of(step) + 1) * self.spec.batch_size, len(self.train))

    def _batch_of(self, step: int) -> int:
        """Return the number, from 0, of a step's batch within the current epoch."""
        return self.progress.batch - 1 - (self.progress.step - step)

    def count_steps(self, count: int) -> list[float]:
        """Advance progress and schedule by `count` steps; return the learning rate of each."""
        rates = []
        for _ in range(count):
            rates.append(self.schedule.lr)
            self.schedule.after_step()
        self.progress.lr = rates[-1]
        self.progress.batch += count
        self.progress.step += count
        return rates

    def end_epoch(self, watched_loss: float) -> None:
        """Advance to the next epoch; `watched_loss` is the loss monitored by the schedule."""
        self.schedule.after_epoch(watched_loss)
        self.order.set_state(self._order_after)
        self.progress = replace(
            self.progress, epoch=self.progress.epoch + 1, batch=0, epoch_loss=0.0
        )

    def settle(self) -> None:
        """Complete the network after the last step, if it is one that is fitted to rows."""
        network = self.model.eval().get_submodule("network")
        if isinstance(network, FittedNetwork):
            preprocessing = self.model.get_submodule("preprocessing")
            width = self.signature.inputs.width
            network.settle(encoded(self.validation, preprocessing, width, self.device))

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values; the tensors are shared, not copied."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
            "progress": asdict(self.progress),
            "average": self.average.state_dict() if self.average else None,
            "best_weights": self.best_weights,
            "curves": self.fit_curves.curves,
            "curve_losses": self.fit_curves.losses,
            "seconds": self.time_budget.spent,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`, including the random generators of this process."""
        self.model.load_state_dict(state["model"])
        # Everything but the optimizer's state comes from the spec or the schedule.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape and value.stride() != parameter.stride():
                    # Saved on another kind of device: fused kernels ignore strides.
                    values[name] = torch.empty_like(parameter).copy_(value).detach()
        self.schedule.load_state_dict(state["schedule"])
        # Generator states must be on the CPU, whatever the map location.
        self.order.set_state(state["order"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if self._on_cuda and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"].cpu(), self.device)
        # In checkpoints of earlier versions, improvements determined the best epoch too.
        best = (("patience_loss", "best_loss"), ("patience_epoch", "best_epoch"))
        improved = {name: state["progress"][earlier] for name, earlier in best}
        self.progress = Progress(**(improved | state["progress"]))
        if self.average:
            self.average.load_state_dict(state["average"])
        self.best_weights = state["best_weights"]
        # Checkpoints of earlier versions have no curves, or curves without a loss.
        self.fit_curves.curves = state.get("curves", {})
        self.fit_curves.losses = state.get("curve_losses", {})
        self.time_budget.spent = state.get("seconds", 0.0)

    @property
    def best_epoch(self) -> int | None:
        """Epoch with the lowest monitored loss; None before the first."""
        return self.progress.best_epoch or None

    @property
    def kept_epoch(self) -> int:
        """Number of epochs behind the final weights."""
        done = self.progress.epoch - 1
        return self.progress.best_epoch if self.best_weights is not None else done

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"


def autocast(spec: TrainingSpec, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which networks on `device` compute in the spec's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bfloat16")


def steps_per_epoch(spec: TrainingSpec, data: Dataset) -> int:
    """Return the number of optimisation steps in one epoch; the last batch may be smaller."""
    return math.ceil(len(data.train) / spec.batch_size)
