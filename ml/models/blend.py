"""A blend: the weighted mean of the predictions of several models of the same rows."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from ml.models.fitted import EncodedRows, FittedNetwork
from ml.models.linear_fits import Affine
from ml.models.shares import (
    is_better,
    losses_of_classes,
    losses_of_values,
    shares_of_classes,
    shares_of_values,
)
from ml.signature import Classes, Value

OF_VALUES = (shares_of_values, losses_of_values)
OF_CLASSES = (shares_of_classes, losses_of_classes)

ROWS_AT_ONCE = 4096
UNTESTED = 1 / 3
"""Share of the member that learns by steps where no validation rows tell what it adds."""
FOLDS = 5
MAX_FOLDED = 2_000
"""Number of rows up to which all folds are held out in turn; of more, one is enough."""


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
        """Fit all members. Without validation rows, choose the shares of all but the last by
        cross-validation, and give the last a fixed one."""
        if validation is None and len(self.members) > 1:
            shares = self._best_shares(self._held_out_figures(train))
            self.shares[:-1] = (1 - UNTESTED) * shares
            self.shares[-1] = UNTESTED
        for member in self._members().values():
            member.fit_to(train, validation)

    @torch.no_grad()
    def settle(self, validation: EncodedRows | None) -> None:
        """Choose the shares by the loss of the validation rows: mean squared error or log loss."""
        if validation is not None:
            figures = self._figures(validation, [*self._members().values()])
            self.shares.copy_(self._best_shares(figures))

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

    def _held_out_figures(self, train: EncodedRows) -> Tensor:
        """Return the figures of all members but the last of rows that they were not fitted to."""
        partners = [*self._members().values()][:-1]
        fold_of_row = torch.arange(len(train.inputs)) % FOLDS
        figures = []
        for fold in range(FOLDS if len(train.inputs) <= MAX_FOLDED else 1):
            is_held = fold_of_row == fold
            rest = EncodedRows(train.inputs[~is_held], train.targets[~is_held])
            if len(rest.inputs) and is_held.any():
                for partner in partners:
                    partner.fit_to(rest, None)
                held = EncodedRows(train.inputs[is_held], train.targets[is_held])
                figures.append(self._figures(held, partners))
        return torch.cat(figures) if figures else torch.zeros(1, len(partners)).double()

    def _best_shares(self, figures: Tensor) -> Tensor:
        """Return the shares of the members with these figures; the linear model has all if the
        others add next to nothing."""
        is_value = isinstance(self._output, Value)
        find, losses = OF_VALUES if is_value else OF_CLASSES
        shares = find(figures)
        names = [*self.members][: len(shares)]
        if "linear" in names:
            alone = torch.tensor([float(name == "linear") for name in names], dtype=torch.float64)
            if not is_better(losses(figures, shares), losses(figures, alone)):
                return alone
        return shares

    def _figures(self, rows: EncodedRows, members: Sequence[FittedNetwork]) -> Tensor:
        """Return the figure of each member for each row that shares are chosen by, `(rows,
        members)`."""
        figure = _error if isinstance(self._output, Value) else _log_likelihood
        inputs, targets = (torch.split(part, ROWS_AT_ONCE) for part in rows)
        batches = [
            torch.cat([figure(member(x).double(), y) for member in members], 1)
            for x, y in zip(inputs, targets, strict=True)
        ]
        return torch.cat(batches).cpu()


def _error(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs - targets


def _log_likelihood(outputs: Tensor, classes: Tensor) -> Tensor:
    return outputs.log_softmax(1).gather(1, classes.unsqueeze(1))
