"""Averages of a network's weights over the course of its training, and the specs that ask for
them; names and formulas are those of `torch.optim.swa_utils`."""

import copy
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ml.strict import ByKind, Strict


class EMASpec(Strict):
    """Exponential moving average, updated after every step (Polyak & Juditsky 1992; Tarvainen &
    Valpola 2017)."""

    kind: Literal["ema"] = "ema"
    decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="Share of the average that each step keeps; 0.999 averages about 1,000 steps.",
    )

    def includes(self, when: Literal["step", "epoch"], done: float) -> bool:
        """Return whether the weights after a step or an epoch are averaged; `done` is the share of
        the epochs that are done."""
        return when == "step"

    def share(self, count: int) -> float:
        """Return the share of new weights in an average that has `count` of them."""
        return 1 - self.decay if count else 1.0


class SWASpec(Strict):
    """Stochastic weight averaging: the mean of the weights after each of the last epochs (Izmailov
    et al. 2018)."""

    kind: Literal["swa"] = "swa"
    start: float = Field(
        default=0.75, ge=0, lt=1, description="Share of the epochs that are not averaged."
    )

    def includes(self, when: Literal["step", "epoch"], done: float) -> bool:
        """Return whether the weights after a step or an epoch are averaged; `done` is the share of
        the epochs that are done."""
        return when == "epoch" and done > self.start

    def share(self, count: int) -> float:
        """Return the share of new weights in an average that has `count` of them."""
        return 1 / (count + 1)


AverageSpec = Annotated[EMASpec | SWASpec, ByKind()]


class Average:
    """A model whose network has averages of another's weights and running statistics."""

    def __init__(self, model: nn.Module, spec: AverageSpec) -> None:
        """The average follows `model`, whose tensors are updated in place."""
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.count = 0
        """Number of averaged weights, until a replayed step adds some: then only whether there are
        any is known, and only an average by epochs asks for more."""
        self._spec = spec
        networks = (owner.get_submodule("network") for owner in (self.model, model))
        pairs = [*zip(*(network.state_dict().values() for network in networks), strict=True)]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]
        numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        self._averages, self._weights = ([*part] for part in zip(*numbers, strict=True))

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor that an update changes."""
        return [*self._averages, *(counter for counter, _ in self._counters)]

    def update(self, when: Literal["step", "epoch"], done: float = 0.0) -> None:
        """Average the weights after a step or an epoch, if the spec says so; `done` is the share of
        the epochs that are done."""
        if not self._spec.includes(when, done):
            return
        torch._foreach_lerp_(self._averages, self._weights, self._spec.share(self.count))
        for counter, value in self._counters:
            counter.copy_(value)
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state; the tensors are shared, not copied."""
        return {"model": self.model.state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self.model.load_state_dict(state["model"])
        self.count = state["count"]
