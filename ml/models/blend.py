"""A blend: the weighted mean of the predictions of several models of the same rows."""

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ml.models.fitted import EncodedRows, FittedNetwork
from ml.models.linear_fits import Affine
from ml.models.partners import Partner
from ml.models.shares import (
    Losses,
    drawn_to_half,
    is_better,
    losses_of_classes,
    losses_of_values,
    mixed_errors,
    mixed_likelihoods,
    shares_of_classes,
    shares_of_values,
)
from ml.signature import Classes, Output


class Rules(NamedTuple):
    """Functions of figures of predictors for rows; see `ml.models.shares`."""

    find: Callable[[Tensor, Tensor], Tensor]
    """Shares, from figures and the weights of rows."""
    mix: Callable[[Tensor, Tensor], Tensor]
    """Figures of a mixture, from figures and shares."""
    losses: Losses


OF_VALUES = Rules(shares_of_values, mixed_errors, losses_of_values)
OF_CLASSES = Rules(shares_of_classes, mixed_likelihoods, losses_of_classes)

SIMPLER = ("linear", "constant")
"""Partners that are the whole model if nothing is better by more than chance, the second rather
than the first."""
UNBOUNDED = torch.finfo(torch.float32).max
UNTESTED = 1 / 3
"""Share of TabM where no validation rows tell what it adds."""


class Blend(FittedNetwork):
    """The weighted mean of the values, or of the probabilities, of TabM and its partners. All of
    several values are mixed by the same shares.

    Only TabM learns by steps: in training, its outputs are those of the blend. Its partners are
    fitted before, to training and validation rows, and weighted among themselves by rows that they
    were not fitted to. What TabM adds is measured on the validation rows in the end; until then, it
    has the whole weight.

    Each value in the mean is kept as near to that of the trees as it was on held-out rows, since
    trees do not extrapolate; where trees have no share, within the range of the targets, unless the
    blend is a linear model.
    """

    shares: Tensor
    low: Tensor
    high: Tensor
    reach: Tensor
    """Greatest distance of each member from the trees on held-out rows, `(members,)`; of several
    values `(members, size)`."""

    def __init__(
        self, output: Output, partners: Mapping[str, Partner], tabm: FittedNetwork
    ) -> None:
        super().__init__()
        self._output = output
        self._names = [*partners, "tabm"]
        self.partners = nn.ModuleDict(partners)
        self.tabm = tabm
        self.register_buffer("shares", self._only("tabm"))
        self.register_buffer("low", torch.zeros(output.size))
        self.register_buffer("high", torch.zeros(output.size))
        self._per_row = 1 if isinstance(output, Classes) else output.size
        of_each = () if self._per_row == 1 else (output.size,)
        self.register_buffer("reach", torch.full((len(self._names), *of_each), UNBOUNDED))
        self._partner_shares = self._validation_figures = self._validation_trees = torch.zeros(0)
        self._class_weights = torch.ones(output.size, dtype=torch.float64)

    def fit_to(
        self,
        train: EncodedRows,
        validation: EncodedRows | None,
        class_weights: Tensor | None = None,
    ) -> None:
        """Fit and weight the partners."""
        if class_weights is not None:
            # A class without training rows has no weight, but it may have validation rows.
            self._class_weights = class_weights.where(class_weights > 0, 1.0)
        self.tabm.fit_to(train, validation)
        rows = train
        if validation is not None:
            rows = EncodedRows(*(torch.cat(parts) for parts in zip(train, validation, strict=True)))
        if not isinstance(self._output, Classes):
            self.low.copy_(rows.targets.amin(0))
            self.high.copy_(rows.targets.amax(0))
        held_out: dict[str, Tensor] = {}
        for name, partner in self.partners.items():
            assert isinstance(partner, Partner)
            held_out[name] = partner.fit_across(rows).nan_to_num() + self._class_weights.log()
            # Fitted with weights, it would predict these probabilities times the weights.
            partner.shift(self._class_weights.log())
        trees = held_out.get("trees")
        if not isinstance(self._output, Classes) and trees is not None:
            distances = [self._distance(outputs, trees) for outputs in held_out.values()]
            self.reach[:-1] = torch.stack(distances)
            self._validation_trees = trees[len(train.inputs) :]
        columns = [self._figures(outputs, rows.targets) for outputs in held_out.values()]
        figures = torch.stack(columns, 1)
        weights = self._weights(rows.targets)
        self._partner_shares = self._rules.find(figures, weights)
        self._validation_figures = figures[train.targets.numel() :]
        if validation is None:
            self.shares.copy_(self._simplest(figures, weights, self._with_tabm(0.0)))
            if not _is_linear(self._used()):
                self.shares.copy_(self._with_tabm(UNTESTED))

    @torch.no_grad()
    def settle(self, validation: EncodedRows | None) -> None:
        """Choose the share of TabM by the loss of the validation rows, which is the mean squared
        error or the log loss.

        It is drawn to a half where the rows are few: TabM was stopped by the same rows.
        """
        if validation is None:
            return
        outputs: Tensor = self.tabm(validation.inputs)
        if len(self._validation_trees):
            self.reach[-1] = self._distance(outputs.cpu(), self._validation_trees)
        own, partners = self._figures(outputs, validation.targets), self._validation_figures
        weights = self._weights(validation.targets.cpu())
        find, mix, losses = self._rules
        both = torch.stack([mix(partners, self._partner_shares), own], 1)
        share = drawn_to_half(
            float(find(both, weights)[1]),
            both,
            lambda figures, shares: self._by_row(weights * losses(figures, shares)),
        )
        figures = torch.cat([partners, own.unsqueeze(1)], 1)
        self.shares.copy_(self._simplest(figures, weights, self._with_tabm(share)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`, in training those of TabM."""
        if self.training:
            outputs: Tensor = self.tabm(inputs)
            return outputs
        used = self._used()
        outputs_of = {name: self._member(name)(inputs).float() for name in used}
        if isinstance(self._output, Classes):
            parts = [outputs_of[name].log_softmax(1) + math.log(used[name]) for name in used]
            return torch.stack(parts).logsumexp(0)
        if not _is_linear(used):
            outputs_of = self._guarded(outputs_of)
        return torch.stack([used[name] * outputs_of[name] for name in used]).sum(0)

    def affine(self) -> Affine | None:
        """Return the blend as a linear model; None if it is none."""
        used = self._used()
        if not _is_linear(used):
            return None
        parts = [
            (cast(Partner, self._member(name)).affine(), share) for name, share in used.items()
        ]
        return reduce(Affine.plus, (part.times(share) for part, share in parts if part is not None))

    def extra_repr(self) -> str:
        """Return the shares."""
        if self.shares.is_meta:
            return ""
        shares = zip(self._names, self.shares.tolist(), strict=True)
        return "shares: " + ", ".join(f"{name} {share:.3g}" for name, share in shares)

    @property
    def _rules(self) -> Rules:
        return OF_CLASSES if isinstance(self._output, Classes) else OF_VALUES

    def _member(self, name: str) -> nn.Module:
        return self.tabm if name == "tabm" else self.partners[name]

    def _used(self) -> dict[str, float]:
        """Return the shares of the members that have one; without memory, of all."""
        count = len(self._names)
        shares = [1 / count] * count if self.shares.is_meta else self.shares.tolist()
        return {name: share for name, share in zip(self._names, shares, strict=True) if share}

    def _guarded(self, outputs_of: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return values by the names of their members, kept near enough."""
        if (trees := outputs_of.get("trees")) is None:
            return {
                name: outputs.clamp(self.low, self.high) for name, outputs in outputs_of.items()
            }
        reach = dict(zip(self._names, self.reach, strict=True))
        return {
            name: outputs.clamp(trees - reach[name], trees + reach[name])
            for name, outputs in outputs_of.items()
        }

    def _only(self, name: str) -> Tensor:
        return torch.tensor([float(one == name) for one in self._names], dtype=torch.float64)

    def _with_tabm(self, share: float) -> Tensor:
        """Return all shares if that of TabM is `share`."""
        return torch.cat(
            [(1 - share) * self._partner_shares, torch.tensor([share], dtype=torch.float64)]
        )

    def _simplest(self, figures: Tensor, weights: Tensor, shares: Tensor) -> Tensor:
        """Return `shares`, or those of a simpler model if these are not better on the rows of
        `figures` (rows, members or partners), which have `weights`."""
        losses, count = self._rules.losses, figures.shape[1]
        for name in SIMPLER:
            if name in self._names:
                simple = self._only(name)
                of_both = (
                    self._by_row(weights * losses(figures, one[:count])) for one in (shares, simple)
                )
                shares = shares if is_better(*of_both) else simple
        return shares

    def _distance(self, outputs: Tensor, trees: Tensor) -> Tensor:
        """Return the greatest distance of outputs `(rows, size)`, in the shape of one `reach`."""
        greatest = (outputs - trees).abs().amax(0)
        return greatest.clamp(max=UNBOUNDED).reshape(self.reach.shape[1:])

    def _by_row(self, losses: Tensor) -> Tensor:
        """Return the mean of the losses of each row, `(rows,)`: those of its values are not
        independent."""
        return losses.view(-1, self._per_row).mean(1)

    def _weights(self, targets: Tensor) -> Tensor:
        """Return what each of the figures counts, of the same shape."""
        if isinstance(self._output, Classes):
            return self._class_weights[targets]
        return self._class_weights.expand(len(targets), -1).flatten()

    def _figures(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what `ml.models.shares` takes of a predictor's `outputs` (rows, size), float64 on
        the CPU: of classes `(rows,)`, and of values one of each in each row `(rows * size,)`."""
        if isinstance(self._output, Classes):
            figures = outputs.double().log_softmax(1).gather(1, targets.unsqueeze(1))
        else:
            is_free = "trees" in self.partners
            kept = outputs if is_free else outputs.clamp(self.low, self.high)
            figures = kept.double() - targets
        return figures.flatten().cpu()


def _is_linear(shares: Mapping[str, float]) -> bool:
    """Return whether members with these shares make a linear model."""
    return shares.keys() <= set(SIMPLER)
