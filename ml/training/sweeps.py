"""Sweeps: many small models of one architecture trained at once, with stacked weights and batched
matrix products. Each has its own seed, data order, dropout, optimizer settings and schedule.

Each model equals that of a separate run up to float rounding, except for dropout on a GPU, which is
drawn for all models at once and in another sequence.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap

from ml import devices
from ml.datasets import Dataset
from ml.dropout import factors
from ml.errors import Invalid
from ml.inference.forward import plain
from ml.losses import training_loss
from ml.models import CNNSpec, LinearSpec, MLPSpec, ModelSpec
from ml.schedules import Schedule
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.engines.cuda_graph import CudaGraphs, Record
from ml.training.initial_model import build
from ml.training.run import autocast, steps_per_epoch
from ml.training.stacked_updates import Clipping, RowUpdate, alike, stacked

logger = logging.getLogger(__name__)

PER_MODEL_FIELDS: dict[str, Any] = {
    "name": True,
    "seed": True,
    "optimizer": True,
    "schedule": True,
    "clip_grad_norm": True,
    "model": {"dropout"},
    "report_every": True,
    "test_every": True,
    "snapshot_every": True,
}
"""Fields that may differ between models."""
UNSUPPORTED = (
    "average",
    "augment",
    "patience",
    "max_seconds",
    "keep_best",
    "detect_anomaly",
    "compile",
)
FEWEST_REPLAYS = 20
"""Minimum number of replays that repays a capture."""

Step = Callable[[], None]


@dataclass(frozen=True)
class Member:
    """One trained model of a sweep, on the CPU."""

    model: nn.Module
    losses: list[float]
    """Mean loss over the training rows of each epoch; NaN or infinite after divergence, which does
    not affect the other models."""


def fit_together(
    specs: Sequence[TrainingSpec],
    data: Dataset,
    device: torch.device,
    record: Record | None = None,
) -> list[Member]:
    """Train one model for each of `specs` on `data`, and return them in order.

    Steps are captured and replayed by `record`, by default with CUDA graphs on a GPU.

    Raises:
        Invalid: the specs differ in fields that a sweep shares, or use unsupported ones; `loc`
            begins with the index of the spec.
    """
    _check(specs)
    loop.set_precision(specs[0])
    if record is None and device.type == "cuda":
        record = CudaGraphs(device).record
    with devices.current(device):
        sweep = _Sweep(specs, data, device, record)
        losses = torch.stack([sweep.epoch() for _ in range(specs[0].epochs)], 1).tolist()
    return [Member(*member) for member in zip(sweep.models(), losses, strict=True)]


class Mask(nn.Module):
    """Replacement for dropout that multiplies by a mask drawn elsewhere."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs * mask`."""
        return inputs * self.mask


@dataclass(frozen=True)
class _Batch:
    """Fixed memory of the steps on batches of one size."""

    index: Tensor
    """Row indices of each model, `(models, rows)`."""
    figures: Tensor
    """Figures of the update."""
    masks: list[Tensor]
    """Masks of each layer with dropout, `(models, rows, width)`."""


class _Sweep:
    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        data: Dataset,
        device: torch.device,
        record: Record | None,
    ) -> None:
        self._specs = specs
        self._data = data
        self._device = device
        self._record = record
        self._rows = data.train.to(device)
        output = data.signature.output
        self._loss_of = training_loss(specs[0].loss, data.train.targets, output, device)
        self._encode = plain(copy.deepcopy(data.preprocessing).to(device))
        self._orders = [Generator().manual_seed(spec.seed) for spec in specs]
        starts, randoms = [], []
        for spec in specs:
            parameters = build(spec, data).parameters()
            starts.append(nn.utils.parameters_to_vector(parameters).detach())
            # A separate run would draw its dropout from this state.
            randoms.append(Generator().set_state(torch.get_rng_state()))
        self._weights = torch.stack(starts).to(device)
        self._gradients = torch.zeros_like(self._weights)
        # Updates that cannot be captured are faster on a CPU.
        apart = device.type == "cpu" and record is None
        self._update = (RowUpdate if apart else stacked)(specs, self._weights, self._gradients)
        self._clip = Clipping(specs, self._gradients)
        self._dropout = SweepDropout(specs, device, randoms if apart else None)
        self._network, self._masked = _template(specs[0].model, self._dropout.highest, data)
        self._parameters = {
            name: part.requires_grad_()
            for name, part in zip(
                dict(self._network.named_parameters()), self._parts(self._weights), strict=True
            )
        }
        self._parts_of_gradients = self._parts(self._gradients)
        self._schedules = [(_schedule(specs[same[0]], data), same) for same in alike(specs)]
        self._sums = torch.zeros(len(specs), dtype=torch.float64, device=device)
        self._batches: dict[int, _Batch] = {}
        self._replays: dict[int, Step | None] = {}
        self._steps_done = 0

    def epoch(self) -> Tensor:
        """Train one epoch; return the mean loss of each model, `(models,)` float64."""
        orders = torch.stack([torch.randperm(len(self._rows), generator=g) for g in self._orders])
        batches = torch.split(orders.to(self._device), self._specs[0].batch_size, dim=1)
        rates = torch.empty(len(batches), len(self._specs), dtype=torch.float64)
        for schedule, same in self._schedules:
            rates[:, same] = _rates(schedule, len(batches)).unsqueeze(1)
        figures = self._update.figures(rates, self._steps_done).to(self._device)
        self._sums.zero_()
        for index, batch_figures in zip(batches, figures, strict=True):
            self._advance(index, batch_figures)
        self._steps_done += len(batches)
        return self._sums / len(self._rows)

    def models(self) -> Iterator[nn.Module]:
        """Yield the models in the form separate runs produce, on the CPU."""
        for spec, *learned in zip(self._specs, *self._parts(self._weights.cpu()), strict=True):
            model = build(spec, self._data)
            with torch.no_grad():
                for parameter, value in zip(model.parameters(), learned, strict=True):
                    parameter.copy_(value)
            yield model.eval()

    def _parts(self, rows: Tensor) -> list[Tensor]:
        """Return views of `rows` `(models, numbers)`, one per parameter of the network."""
        shapes = [parameter.shape for parameter in self._network.parameters()]
        parts = torch.split(rows, [shape.numel() for shape in shapes], dim=1)
        return [part.view(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]

    def _advance(self, index: Tensor, figures: Tensor) -> None:
        """Execute one step of every model on its rows at `index` (models, rows)."""
        if (rows := index.shape[1]) not in self._batches:
            memory = torch.empty_like(index), torch.empty_like(figures)
            self._batches[rows] = _Batch(*memory, self._dropout.masks(rows))
        batch = self._batches[rows]
        batch.index.copy_(index)
        batch.figures.copy_(figures)
        if rows not in self._replays:
            self._replays[rows] = self._captured(batch)
        if replay := self._replays[rows]:
            replay()
        else:
            self._step(batch)

    def _step(self, batch: _Batch) -> None:
        spec, index = self._specs[0], batch.index
        rows = self._rows.at(index.flatten())
        inputs = self._encode(rows.inputs)
        inputs = inputs.view(*index.shape, *inputs.shape[1:])
        self._dropout.draw(batch.masks)
        masks = dict(zip(self._masked, batch.masks, strict=True))
        with autocast(spec, self._device):
            outputs = vmap(self._forward)(self._parameters, masks, inputs)
            losses = self._loss_of(outputs.flatten(0, 1), rows.targets, reduction="none")
            if (targets := losses.numel() // index.numel()) > 1:
                losses = losses.view(-1, targets).mean(1)
        gradients = torch.autograd.grad(
            losses, list(self._parameters.values()), torch.full_like(losses, 1 / index.shape[1])
        )
        torch._foreach_copy_(self._parts_of_gradients, gradients)
        self._clip()
        self._update(batch.figures)
        self._sums += losses.detach().view(len(index), -1).sum(1)

    def _forward(
        self, parameters: dict[str, Tensor], masks: dict[str, Tensor], inputs: Tensor
    ) -> Tensor:
        outputs: Tensor = functional_call(self._network, (parameters, masks), (inputs,))
        return outputs

    def _captured(self, batch: _Batch) -> Step | None:
        """Return a replay of the step on `batch`; None if capturing fails or does not pay off."""
        spec, rows = self._specs[0], batch.index.shape[1]
        count = spec.epochs * (len(self._rows) // rows if rows == spec.batch_size else 1)
        if self._record is None or count < FEWEST_REPLAYS:
            return None
        changed = [self._weights, self._sums, *self._update.state]
        before = [tensor.clone() for tensor in changed]
        random = devices.random_state(self._device)

        def undo() -> None:
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
            devices.set_random_state(self._device, random)

        try:
            return self._record(lambda: self._step(batch), undo=undo)
        except Exception as error:
            undo()
            logger.warning(
                "capturing a step failed, continuing the sweep without CUDA graphs: %s: %s",
                type(error).__name__,
                error,
            )
            # The allocator may still consider the capture in progress.
            devices.distrust(self._device)
            self._record = None
            return None


class SweepDropout:
    """Dropout masks of all models, drawn at each step: from each model's own generator, as in a
    separate run, or, without `generators`, for a whole layer at once on the device."""

    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        device: torch.device,
        generators: list[Generator] | None,
    ) -> None:
        self._device = device
        self._generators = generators
        layers = list(zip(*(_dropouts(spec.model) for spec in specs), strict=True))
        self.highest = [max(layer) for layer in layers]
        """Highest probability in each hidden layer; layers above 0 have a mask."""
        widths: list[int] = getattr(specs[0].model, "hidden", [])
        self._widths = [width for width, p in zip(widths, self.highest, strict=True) if p]
        self._dropped = [layer for layer in layers if any(layer)]
        self._kept = [
            1 - torch.tensor(layer, device=device).view(-1, 1, 1) for layer in self._dropped
        ]

    def masks(self, rows: int) -> list[Tensor]:
        """Allocate the masks, `(models, rows, width)` each."""
        shapes = [
            (len(kept), rows, width) for kept, width in zip(self._kept, self._widths, strict=True)
        ]
        return [torch.ones(shape, device=self._device) for shape in shapes]

    def draw(self, masks: list[Tensor]) -> None:
        """Fill `masks` with new dropout factors."""
        if self._generators is None:
            for mask, keep_probability in zip(masks, self._kept, strict=True):
                mask.bernoulli_(keep_probability).div_(keep_probability)
            return
        for mask, dropped in zip(masks, self._dropped, strict=True):
            for model_mask, p, generator in zip(mask, dropped, self._generators, strict=True):
                if p:
                    model_mask.copy_(factors(model_mask.shape, p, generator))


def _dropouts(model: ModelSpec) -> list[float]:
    """Return the dropout probability of each hidden layer."""
    if isinstance(model, MLPSpec):
        return model.dropouts
    return [model.dropout] * len(model.hidden) if isinstance(model, CNNSpec) else []


def _template(
    model: ModelSpec, dropouts: list[float], data: Dataset
) -> tuple[nn.Module, list[str]]:
    """Return the shared network, without weights, and the names of its masks, one for each
    probability in `dropouts` above 0."""
    if isinstance(model, MLPSpec):
        model = model.model_copy(update={"dropout": dropouts})
    elif isinstance(model, CNNSpec):
        model = model.model_copy(update={"dropout": max(dropouts, default=0.0)})
    with torch.device("meta"):
        network = model.build(data.signature)
    masks = []
    for name, layer in network.named_children():
        if isinstance(layer, nn.Dropout):
            network.register_module(name, Mask())
            masks.append(f"{name}.mask")
        elif isinstance(layer, nn.Linear):
            layer.forward = partial(_affine, layer)  # type: ignore[method-assign]
    return network, masks


def _affine(layer: nn.Linear, inputs: Tensor) -> Tensor:
    # vmap runs `addmm` as four operations, forward and backward, and these as two.
    return inputs @ layer.weight.T + layer.bias


def _schedule(spec: TrainingSpec, data: Dataset) -> Schedule:
    steps = steps_per_epoch(spec, data)
    return spec.schedule.build(spec.optimizer.lr, spec.epochs, steps)


def _rates(schedule: Schedule, steps: int) -> Tensor:
    """Return the learning rates of the next epoch's steps, `(steps,)` float64."""
    rates = []
    for _ in range(steps):
        rates.append(schedule.lr)
        schedule.after_step()
    schedule.after_epoch(math.nan)  # plateau schedules are rejected
    return torch.tensor(rates, dtype=torch.float64)


def _check(specs: Sequence[TrainingSpec]) -> None:
    if not specs:
        raise Invalid("is empty; give at least one spec")
    first = specs[0]
    if not isinstance(first.model, LinearSpec | MLPSpec | CNNSpec):
        raise Invalid(
            f"{first.model.kind} networks are not supported in a sweep; choose linear, mlp or cnn",
            (0, "model"),
        )
    shared = first.model_dump(exclude=PER_MODEL_FIELDS)
    for number, spec in enumerate(specs):
        for field, value in spec.model_dump(exclude=PER_MODEL_FIELDS).items():
            if value != shared[field]:
                raise Invalid("must be the same in all specs of a sweep", (number, field))
        if spec.optimizer.kind != first.optimizer.kind:
            raise Invalid("must be of the same kind in all specs of a sweep", (number, "optimizer"))
        if spec.schedule.kind == "plateau":
            raise Invalid(
                "plateau is not supported in a sweep; choose another schedule", (number, "schedule")
            )
        for field in UNSUPPORTED:
            if getattr(spec, field) != TrainingSpec.model_fields[field].default:
                raise Invalid(
                    "is not supported in a sweep; leave it at its default", (number, field)
                )
