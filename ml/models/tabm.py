"""TabM: an ensemble of networks for tables that share most of their weights.

Gorishniy, Kotelnikov and Babenko 2025, "TabM: Advancing Tabular Deep Learning with Parameter-
Efficient Ensembling". The shared layers are those of BatchEnsemble (Wen, Tran and Ba 2020).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ml.dropout import Dropout
from ml.errors import Invalid
from ml.models.built_in import MAX_LAYERS, Probability, Width
from ml.models.fitted import EncodedRows, FittedNetwork
from ml.models.number_embeddings import PiecewiseLinear, QuantileNormal
from ml.signature import Classes, Features, Signature
from ml.strict import Strict

ROWS_AT_ONCE, NUMBERS_AT_ONCE = 512, 1 << 22
"""Bounds on the rows, and on the numbers of a layer, in memory together when predicting."""


class SharedLinear(nn.Module):
    """An affine layer of all members of an ensemble: `((x * inward) @ W.T) * outward + bias`.

    Input `(rows, members, in)`, or `(rows, 1, in)` if the members share it, output `(rows, members,
    out)`. `W` is shared, the vectors are each member's own.
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = max(1, inputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.inward = nn.Parameter(torch.ones(members, inputs))
        self.outward = nn.Parameter(torch.ones(members, outputs))
        bias = torch.empty(outputs).uniform_(-bound, bound)
        self.bias = nn.Parameter(bias.repeat(members, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        products = (inputs * self.inward) @ self.weight.t()
        return torch.addcmul(self.bias, products, self.outward)

    def extra_repr(self) -> str:
        """Return the sizes."""
        outputs, inputs = self.weight.shape
        return f"{len(self.bias)} members, {inputs} numbers in, {outputs} numbers out"


class OwnLinear(nn.Module):
    """An affine layer of each member, from `(rows, members, in)` to `(rows, members, out)`."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        return torch.baddbmm(self.bias.unsqueeze(1), inputs.transpose(0, 1), self.weight).transpose(
            0, 1
        )

    def extra_repr(self) -> str:
        """Return the sizes."""
        members, inputs, outputs = self.weight.shape
        return f"{members} members, {inputs} numbers in, {outputs} numbers out"


class TabM(FittedNetwork):
    """An ensemble for rows from `ml.preprocessing.Encode`, `(rows, width)`.

    In training, the outputs are those of all members, `(rows, members, size)`, and the loss is the
    mean of theirs. In evaluation they are the mean `(rows, size)`: of values, or the logarithm of
    that of probabilities.
    """

    def __init__(self, inputs: Features, size: int, is_classifier: bool, spec: "TabMSpec") -> None:
        super().__init__()
        self._numbers = inputs.standardised
        self._is_classifier = is_classifier
        self.normal = QuantileNormal(self._numbers)
        self.embed = PiecewiseLinear(self._numbers, spec.bins, spec.embedding)
        blocks = [spec.embedding] * self._numbers + _blocks(inputs)
        layers: list[nn.Module] = []
        width = sum(blocks)
        for hidden in spec.hidden:
            layers += [SharedLinear(spec.members, width, hidden), nn.ReLU()]
            if spec.dropout:
                layers.append(Dropout(spec.dropout))
            width = hidden
        self.layers = nn.Sequential(*layers)
        _tell_members_apart(layers[0], blocks)
        self.head = OwnLinear(spec.members, width, size)
        widest = max(
            spec.members * max(*spec.hidden, size),
            self._numbers * max(spec.bins, spec.embedding),
            sum(blocks),
        )
        self._rows_at_once = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // widest))

    def fit_to(
        self,
        train: EncodedRows,
        validation: EncodedRows | None,
        class_weights: Tensor | None = None,
    ) -> None:
        """Measure the distributions of the numbers."""
        numbers = train.inputs[:, : self._numbers]
        self.normal.fit(numbers)
        self.embed.fit(self.normal(numbers))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        if self.training:
            return self._members(inputs)
        parts = [self._mean(part) for part in torch.split(inputs, self._rows_at_once)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _members(self, inputs: Tensor) -> Tensor:
        numbers, rest = inputs[:, : self._numbers], inputs[:, self._numbers :]
        embedded = self.embed(self.normal(numbers)).flatten(1)
        outputs: Tensor = self.head(self.layers(torch.cat([embedded, rest], 1).unsqueeze(1)))
        return outputs

    def _mean(self, inputs: Tensor) -> Tensor:
        outputs = self._members(inputs).float()
        if not self._is_classifier:
            return outputs.mean(1)
        return outputs.log_softmax(2).logsumexp(1) - math.log(outputs.shape[1])


class TabMSpec(Strict):
    """TabM, an ensemble of networks for rows that share most of their weights, with piecewise
    linear embeddings of numbers (Gorishniy et al. 2025)."""

    kind: Literal["tabm"] = "tabm"
    members: int = Field(default=16, ge=1, le=256, description="Number of networks.")
    hidden: list[Width] = Field(
        default=[128, 128], min_length=1, max_length=MAX_LAYERS, description="Hidden layer sizes."
    )
    dropout: Probability = Field(
        default=0.1, description="Dropout probability after each hidden layer."
    )
    bins: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Maximum number of pieces of a number's embedding, which are quantiles of the "
        "training rows.",
    )
    embedding: int = Field(
        default=8, ge=1, le=1024, description="Embedding size of numbers and parts of dates."
    )

    def build(self, signature: Signature) -> TabM:
        """Return the network, from encoded inputs `(batch, width)` to `(batch, size)`, in training
        to `(batch, members, size)`.

        Raises:
            Invalid: the inputs are images.
        """
        inputs, output = signature.inputs, signature.output
        return TabM(rows_only(inputs), output.size, isinstance(output, Classes), self)


def rows_only(inputs: object) -> Features:
    """Return the inputs of a network for rows.

    Raises:
        Invalid: they are images.
    """
    if not isinstance(inputs, Features):
        raise Invalid("requires rows, but this data set has images; choose mlp or cnn", ("kind",))
    return inputs


def _blocks(inputs: Features) -> list[int]:
    """Return how many columns each feature has behind the standardised ones."""
    categories = inputs.encoding.categories if inputs.encoding else {}
    blocks = [len(values) for values in categories.values()]
    return blocks + [1] * (inputs.width - inputs.standardised - sum(blocks))


def _tell_members_apart(first: nn.Module, blocks: Sequence[int]) -> None:
    """Draw one factor for each member and feature: elsewhere the members begin alike."""
    assert isinstance(first, SharedLinear)
    if first.inward.is_meta:
        return
    factors = torch.randn(len(first.inward), len(blocks))
    with torch.no_grad():
        first.inward.copy_(factors.repeat_interleave(torch.tensor(blocks, dtype=torch.int64), 1))
