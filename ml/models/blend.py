"""A blend: the weighted mean of the predictions of several models of the same rows."""

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from ml.models.fitted import EncodedRows, FittedNetwork
from ml.models.linear_fits import Affine
from ml.models.shares import shares_of_classes, shares_of_values
from ml.signature import Classes, Value

Figure = Callable[[Tensor, Tensor], Tensor]

ROWS_AT_ONCE = 4096
NEGLIGIBLE = 0.01
"""Share of the linear model's loss that is too little a gain, if it is within a standard error."""


class Blend(FittedNetwork):
    """The weighted mean of the values, or of the probabilities, that its members predict.

    The last member learns by steps: in training, its outputs are those of the blend. The others are
    fitted before the first step. Until the blend is settled, the last has the whole weight.
    """

    shares: Tensor

    def __init__(self, output: Value | Classes, members: Mapping[str, FittedNetwork]) -> None:
        super().__init__()
        self._output = output
        self.members = nn.ModuleDict(members)
        shares = torch.zeros(len(members), dtype=torch.float64)
        shares[-1] = 1.0
        self.register_buffer("shares", shares)

    def fit_to(self, train: EncodedRows, validation: EncodedRows | None) -> None:
        """Fit all members."""
        for member in self._members().values():
            member.fit_to(train, validation)

    @torch.no_grad()
    def settle(self, validation: EncodedRows | None) -> None:
        """Choose the shares by the loss of the validation rows: mean squared error or log loss.
        Without any, all members that use the inputs have equal shares."""
        if validation is None:
            equal = torch.tensor([float(name != "constant") for name in self.members])
            self.shares.copy_(equal / equal.sum())
            return
        if isinstance(self._output, Value):
            actual = validation.targets.double().cpu()
            predictions = self._of_each(validation, _values)
            shares = shares_of_values(predictions, actual.squeeze(1))
            losses = (predictions - actual).square()
            mixed = (predictions @ shares.unsqueeze(1) - actual).square().squeeze(1)
        else:
            likelihoods = self._of_each(validation, _log_likelihoods)
            shares = shares_of_classes(likelihoods)
            losses = -likelihoods
            mixed = -(likelihoods + shares.log()).logsumexp(1)
        for place, name in enumerate(self.members):
            if name == "linear" and not _is_better(mixed, losses[:, place]):
                shares = torch.zeros_like(shares)
                shares[place] = 1.0
        self.shares.copy_(shares)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`, in training those of the last member."""
        members = [*self._members().values()]
        if self.training:
            outputs: Tensor = members[-1](inputs)
            return outputs
        # Without memory there are no shares.
        shares = [1.0] * len(members) if self.shares.is_meta else self.shares.tolist()
        used = [
            (share, member(inputs).float())
            for share, member in zip(shares, members, strict=True)
            if share
        ]
        if isinstance(self._output, Value):
            return torch.stack([share * outputs for share, outputs in used]).sum(0)
        parts = [outputs.log_softmax(1) + math.log(share) for share, outputs in used]
        return torch.stack(parts).logsumexp(0)

    def affine(self) -> Affine | None:
        """Return the blend as a linear model; None if a member with a share is none."""
        members = zip(self._members().values(), self.shares.tolist(), strict=True)
        parts = [(member.affine(), share) for member, share in members if share]
        linear = [part.times(share) for part, share in parts if part is not None]
        return reduce(Affine.plus, linear) if len(linear) == len(parts) else None

    def extra_repr(self) -> str:
        """Return the shares."""
        if self.shares.is_meta:
            return ""
        shares = zip(self.members, self.shares.tolist(), strict=True)
        return "shares: " + ", ".join(f"{name} {share:.3g}" for name, share in shares)

    def _members(self) -> dict[str, FittedNetwork]:
        return {name: cast(FittedNetwork, member) for name, member in self.members.items()}

    def _of_each(self, rows: EncodedRows, figure: Figure) -> Tensor:
        """Return a figure of the outputs of each member for each row, `(rows, members)` float64."""
        inputs, targets = (torch.split(part, ROWS_AT_ONCE) for part in rows)
        return torch.cat(
            [
                torch.cat([figure(member(x).double(), y) for member in self._members().values()], 1)
                for x, y in zip(inputs, targets, strict=True)
            ]
        ).cpu()


def _values(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs


def _log_likelihoods(outputs: Tensor, classes: Tensor) -> Tensor:
    return outputs.log_softmax(1).gather(1, classes.unsqueeze(1))


def _is_better(losses: Tensor, others: Tensor) -> bool:
    """Return whether losses `(rows,)` are lower than `others` by more than chance, or by much."""
    gains = others - losses
    gain = gains.mean()
    if len(gains) > 1 and gain > gains.std() / math.sqrt(len(gains)):
        return True
    return bool(gain > NEGLIGIBLE * others.mean())
