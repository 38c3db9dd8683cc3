"""A training run between two steps: the model, and all that its future depends on."""

import copy
import math
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ml.datasets import Dataset
from ml.errors import Diverged, Invalid
from ml.losses import LOSSES
from ml.specs import TrainingSpec
from ml.training import divergence
from ml.training.batches import Placement, place
from ml.training.fit_curves import FitCurves


@dataclass
class Progress:
    """Where a run is, and the sums that its next reports are made of."""

    epoch: int = 1
    """The epoch that runs, or runs next."""
    batch: int = 0
    """Batches of it that are done."""
    step: int = 0
    epoch_loss: float = 0.0
    """Sum over the rows of this epoch."""
    recent_loss: float = 0.0
    """Sum over the steps since the last step report."""
    recent_steps: int = 0
    lr: float = math.nan
    """The learning rate of the last step."""
    best_loss: float = math.inf
    """The lowest watched loss of an epoch."""
    best_epoch: int = 0
    """The epoch that had it."""


class Run:
    """A training run between two steps: the model, and all that its future depends on.

    Raises:
        Invalid: the model cannot learn from batches of the size that the spec asks for.
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
            # Tensor cores take the channels of a pixel side by side.
            self.model = self.model.to(memory_format=torch.channels_last)
        _check_last_batch(model, len(data.train), spec.batch_size)
        watched = [rows for rows in (data.train, data.validation) if rows is not None]
        self.placement = placement or place(sum(rows.nbytes for rows in watched), device)
        where = device if self.placement == "resident" else torch.device("cpu")
        self.train = data.train.to(where)
        self.validation = data.validation.to(where) if data.validation else None
        self.optimizer = spec.optimizer.build(self.model.parameters())
        self.schedule = spec.schedule.build(
            spec.optimizer.lr, spec.epochs, steps_per_epoch(spec, data)
        )
        self.order = Generator().manual_seed(spec.seed)
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] | None = None
        self.fit_curves = FitCurves(data, spec.epochs)
        network = self.model.get_submodule("network")
        if spec.compile:
            # What was compiled for other networks counts towards a limit, from which on networks
            # are silently not compiled any more.
            torch._dynamo.reset()
        self._network = torch.compile(network) if spec.compile else network

    def encode(self, inputs: Tensor) -> Tensor:
        """Return raw `inputs` (rows, ...) as the network takes them."""
        encoded: Tensor = self.model.get_submodule("preprocessing")(inputs)
        return encoded

    def loss(self, encoded: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `()` of encoded inputs, in the spec's precision."""
        with self.autocast():
            return LOSSES[self.spec.loss](self._network(encoded), targets)

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which the network computes in the spec's precision."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.spec.precision == "bfloat16"
        )

    def epoch_order(self) -> Tensor:
        """Return the order `(rows,)` of the present epoch, always the same until `end_epoch`."""
        before = self.order.get_state()
        order = torch.randperm(len(self.train), generator=self.order)
        self._order_after = self.order.get_state()
        self.order.set_state(before)
        return order

    def diagnose(self, loss: Tensor, inputs: Tensor, step: int) -> Diverged:
        """Return the error for step number `step`, whose `loss` on raw `inputs` is not finite."""
        where = f"epoch {self.progress.epoch}, step {step}"
        with self.autocast():
            return divergence.diagnose(loss, self.model, inputs, where)

    def where(self) -> str:
        """Name the next step, as errors do."""
        return f"epoch {self.progress.epoch}, step {self.progress.step + 1}"

    @property
    def batches_left(self) -> int:
        """The batches of the present epoch that are not done."""
        return math.ceil(len(self.train) / self.spec.batch_size) - self.progress.batch

    def add_loss(self, loss: float, step: int) -> None:
        """Add the loss of step number `step`, of the present epoch, to the sums."""
        progress, size = self.progress, self.spec.batch_size
        row = (progress.batch - 1 - (progress.step - step)) * size
        progress.epoch_loss += loss * min(size, len(self.train) - row)
        progress.recent_loss += loss
        progress.recent_steps += 1

    def count_steps(self, count: int) -> list[float]:
        """Count the next steps as done; return the learning rate of each."""
        rates = []
        for _ in range(count):
            rates.append(self.schedule.lr)
            self.schedule.after_step()
        self.progress.lr = rates[-1]
        self.progress.batch += count
        self.progress.step += count
        return rates

    def end_epoch(self, watched_loss: float) -> None:
        """Turn to the next epoch; `watched_loss` is what the schedule may follow."""
        self.schedule.after_epoch(watched_loss)
        self.order.set_state(self._order_after)
        self.progress = replace(
            self.progress, epoch=self.progress.epoch + 1, batch=0, epoch_loss=0.0
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state, tensors and plain values only; the tensors are the run's own."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
            "progress": asdict(self.progress),
            "best_weights": self.best_weights,
            "curves": self.fit_curves.curves,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, in this process's random generators too."""
        self.model.load_state_dict(state["model"])
        # All that stands beside an optimizer's state is the spec's, or the schedule's.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape and value.stride() != parameter.stride():
                    # Saved on another kind of device: fused kernels go through memory, whatever
                    # the strides are.
                    values[name] = torch.empty_like(parameter).copy_(value).detach()
        self.schedule.load_state_dict(state["schedule"])
        # Generators keep their state on the CPU, wherever the tensors were put.
        self.order.set_state(state["order"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if self._on_cuda and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"].cpu(), self.device)
        self.progress = Progress(**state["progress"])
        self.best_weights = state["best_weights"]
        # Checkpoints of earlier versions have none.
        self.fit_curves.curves = state.get("curves", {})

    @property
    def kept_epoch(self) -> int:
        """How many epochs the weights have seen that the model has at the end."""
        done = self.progress.epoch - 1
        return self.progress.best_epoch if self.best_weights is not None else done

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"


def steps_per_epoch(spec: TrainingSpec, data: Dataset) -> int:
    """Return the number of optimisation steps in one epoch; the last batch may be smaller."""
    return math.ceil(len(data.train) / spec.batch_size)


def build(spec: TrainingSpec, data: Dataset) -> nn.Module:
    """Return the model at its start: fitted preprocessing, then a network whose initial weights
    are a function of the seed. Seeds every random generator of this process."""
    torch.manual_seed(spec.seed)
    model = nn.Sequential()
    model.add_module("preprocessing", copy.deepcopy(data.preprocessing))
    model.add_module("network", spec.model.build(data.signature))
    return model


def _check_last_batch(model: nn.Module, rows: int, batch_size: int) -> None:
    normalised = any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()
    )
    if normalised and 1 in (batch_size, rows % batch_size):
        raise Invalid(
            f"batches of {batch_size} leave one of {rows} rows for the last, which batch "
            "normalisation cannot learn from; use another size",
            ("batch_size",),
        )
