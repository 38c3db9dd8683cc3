"""Many small models of one architecture trained at once: their weights stacked, their matrix
products batched, each with its own seed, data order, dropout, learning rate and weight decay.

Each learns what it would learn in a run of its own, to float rounding.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ml import training
from ml.datasets import Dataset
from ml.dropout import factors
from ml.errors import Invalid
from ml.losses import LOSSES
from ml.schedules import Schedule
from ml.specs import TrainingSpec

OWN: dict[str, Any] = {
    "name": True,
    "seed": True,
    "optimizer": True,
    "schedule": True,
    "clip_grad_norm": True,
    "model": {"dropout"},
    "report_every": True,
}
"""What may differ from model to model."""
UNSUPPORTED = ("patience", "keep_best", "detect_anomaly", "compile")


@dataclass(frozen=True)
class Member:
    """One model of a sweep, trained, on the CPU."""

    model: nn.Module
    losses: list[float]
    """The mean loss over the training rows in each epoch; NaN or infinite from where it diverged,
    which does not touch the others."""


def fit_together(
    specs: Sequence[TrainingSpec], data: Dataset, device: torch.device
) -> list[Member]:
    """Train one model for each of `specs` on `data`, and return them in order.

    Raises:
        Invalid: the specs do not make models of one architecture, trained alike; `loc` begins with
            the number of the spec.
    """
    _check(specs)
    sweep = _Sweep(specs, data, device)
    losses = [sweep.epoch() for _ in range(specs[0].epochs)]
    return [
        Member(model, [epoch[number] for epoch in losses])
        for number, model in enumerate(sweep.models())
    ]


class Mask(nn.Module):
    """Stands in for dropout: multiplies by a mask that was drawn outside."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the masked inputs."""
        return inputs * self.mask


@dataclass(frozen=True)
class _Alike:
    """The optimizer of the models that are stepped with the same figures, and its schedule."""

    optimizer: torch.optim.Optimizer
    schedule: Schedule


class _Sweep:
    def __init__(self, specs: Sequence[TrainingSpec], data: Dataset, device: torch.device) -> None:
        self._specs = specs
        self._data = data
        self._device = device
        self._rows = data.train.to(device)
        self._orders = [Generator().manual_seed(spec.seed) for spec in specs]
        self._randoms: list[Generator] = []
        layers: list[list[nn.Module]] = []
        self._dropouts: list[dict[int, float]] = []
        for spec in specs:
            network = training.build(spec, data)
            # A run of its own would go on drawing its dropout from here.
            self._randoms.append(Generator())
            self._randoms[-1].set_state(torch.get_rng_state())
            without, dropouts = _apart(network)
            layers.append(without)
            self._dropouts.append(dropouts)
        self._masked = sorted(set().union(*self._dropouts))
        self._widths = [_width_after(layers[0], position) for position in self._masked]
        models = [_with_masks(without, self._masked).to(device).train() for without in layers]
        self._base = models[0]
        self._parameters, self._buffers = stack_module_state(models)
        self._views = [
            [nn.Parameter(stack.detach()[number]) for stack in self._parameters.values()]
            for number in range(len(specs))
        ]
        self._alike = list(self._groups())
        self._forward = vmap(self._loss)

    def epoch(self) -> list[float]:
        """Train one epoch; return each model's mean loss over the rows."""
        size = self._specs[0].batch_size
        orders = torch.stack([torch.randperm(len(self._rows), generator=g) for g in self._orders])
        sums = torch.zeros(len(self._specs), dtype=torch.float64, device=self._device)
        for index in torch.split(orders.to(self._device), size, dim=1):
            sums += self._step(index).double() * index.shape[1]
        for alike in self._alike:
            alike.schedule.after_epoch(math.nan, alike.optimizer)  # it is no plateau
        return (sums / len(self._rows)).tolist()

    def models(self) -> Iterator[nn.Module]:
        """Return the models as runs of their own would have made them, on the CPU."""
        for spec, learned in zip(self._specs, self._views, strict=True):
            model = training.build(spec, self._data)
            with torch.no_grad():
                for parameter, value in zip(model.parameters(), learned, strict=True):
                    parameter.copy_(value)
            yield model.eval()

    def _step(self, index: Tensor) -> Tensor:
        """Do one step of every model on its rows at `index` (models, batch); return the losses."""
        self._draw_masks(index.shape[1])
        batch = self._rows.at(index.flatten())
        inputs, targets = (
            rows.view(*index.shape, *rows.shape[1:]) for rows in (batch.inputs, batch.targets)
        )
        losses: Tensor = self._forward(self._parameters, self._buffers, inputs, targets)
        gradients = [
            # A fused optimizer walks through memory, whatever the strides are.
            gradient.contiguous()
            for gradient in torch.autograd.grad(losses.sum(), list(self._parameters.values()))
        ]
        for number, (spec, views) in enumerate(zip(self._specs, self._views, strict=True)):
            for view, gradient in zip(views, gradients, strict=True):
                view.grad = gradient[number]
            if spec.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(views, spec.clip_grad_norm)
        for alike in self._alike:
            alike.optimizer.step()
            alike.schedule.after_step(alike.optimizer)
        return losses.detach()

    def _loss(
        self,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        inputs: Tensor,
        targets: Tensor,
    ) -> Tensor:
        outputs = functional_call(self._base, (parameters, buffers), (inputs,))
        return LOSSES[self._specs[0].loss](outputs, targets)

    def _draw_masks(self, rows: int) -> None:
        """Draw each model's dropout from its own generator, as a run of its own would."""
        for position, width in zip(self._masked, self._widths, strict=True):
            masks = torch.ones(len(self._specs), rows, width)
            for mask, dropouts, random in zip(masks, self._dropouts, self._randoms, strict=True):
                if p := dropouts.get(position):
                    mask.copy_(factors(mask.shape, p, random))
            self._buffers[f"mask_{position}.mask"] = masks.to(self._device)

    def _groups(self) -> Iterator[_Alike]:
        steps = training.steps_per_epoch(self._specs[0], self._data)
        alike: dict[tuple[str, str], list[int]] = {}
        for number, spec in enumerate(self._specs):
            key = spec.optimizer.model_dump_json(), spec.schedule.model_dump_json()
            alike.setdefault(key, []).append(number)
        for members in alike.values():
            spec = self._specs[members[0]]
            parameters = [view for number in members for view in self._views[number]]
            optimizer = spec.optimizer.build(parameters, self._device)
            schedule = spec.schedule.build(spec.optimizer.lr, spec.epochs, steps)
            schedule.apply(optimizer)
            yield _Alike(optimizer, schedule)


def _apart(model: nn.Module) -> tuple[list[nn.Module], dict[int, float]]:
    """Return a model's layers without dropout, and after which of them it drops how much."""
    layers: list[nn.Module] = [model.get_submodule("preprocessing")]
    dropouts = {}
    for layer in model.get_submodule("network").children():
        if isinstance(layer, nn.Dropout):
            dropouts[len(layers) - 1] = layer.p
        else:
            layers.append(layer)
    return layers, dropouts


def _with_masks(layers: list[nn.Module], positions: Sequence[int]) -> nn.Module:
    model = nn.Sequential()
    for position, layer in enumerate(layers):
        model.add_module(f"layer_{position}", layer)
        if position in positions:
            model.add_module(f"mask_{position}", Mask())
    return model


def _width_after(layers: list[nn.Module], position: int) -> int:
    """Return how many numbers a row has after the layer at `position`."""
    affine = [layer for layer in layers[: position + 1] if isinstance(layer, nn.Linear)]
    return affine[-1].out_features


def _check(specs: Sequence[TrainingSpec]) -> None:
    if not specs:
        raise Invalid("is empty; give at least one spec")
    first = specs[0]
    if first.model.kind == "torchvision":
        raise Invalid("networks of torchvision are not trained together", (0, "model"))
    shared = first.model_dump(exclude=OWN)
    for number, spec in enumerate(specs):
        for field, value in spec.model_dump(exclude=OWN).items():
            if value != shared[field]:
                raise Invalid("must be the same in all specs of a sweep", (number, field))
        if spec.optimizer.kind != first.optimizer.kind:
            raise Invalid("must be of the same kind in all specs of a sweep", (number, "optimizer"))
        if spec.schedule.kind == "plateau":
            raise Invalid("a plateau is not watched for in a sweep", (number, "schedule"))
        for field in UNSUPPORTED:
            if getattr(spec, field) != TrainingSpec.model_fields[field].default:
                raise Invalid("is not done in a sweep", (number, field))
