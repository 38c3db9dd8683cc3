"""Networks, and the parts they are made of."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ml.errors import Invalid
from ml.signature import Features, Signature

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu", "tanh", "sigmoid"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Linear(nn.Sequential):
    """One affine layer: linear regression for values, softmax regression for classes."""


class MLP(nn.Sequential):
    """Affine layers with an activation and optional dropout between them."""


class Embed(nn.Module):
    """Learned embeddings of a table's categorical columns.

    Input `(batch, inputs.width)` from `ml.preprocessing.Encode`, output `(batch, width)`. Each
    column's one-hot block becomes `size` numbers, zeros for an unknown value; other columns pass
    through.
    """

    def __init__(self, inputs: Features, size: int) -> None:
        super().__init__()
        categories = inputs.encoding.categories if inputs.encoding else {}
        self._start = inputs.standardised
        self._blocks = [len(values) for values in categories.values()]
        self.tables = nn.ParameterList(torch.empty(count, size) for count in self._blocks)
        for table in self.tables:
            nn.init.normal_(table)
        self.width = inputs.width - sum(self._blocks) + size * len(self._blocks)

    def forward(self, encoded: Tensor) -> Tensor:
        """Return the batch `(batch, width)` with its one-hot blocks embedded."""
        rest = encoded.shape[1] - self._start - sum(self._blocks)
        numbers, *blocks, gaps = torch.split(encoded, [self._start, *self._blocks, rest], dim=1)
        embedded = [block @ table for block, table in zip(blocks, self.tables, strict=True)]
        return torch.cat([numbers, *embedded, gaps], dim=1)

    def extra_repr(self) -> str:
        """Return the numbers of values, columns and outputs."""
        return (
            f"{sum(self._blocks)} values of {len(self._blocks)} columns, {self.width} numbers out"
        )


class CNN(nn.Sequential):
    """Convolutions with pooling, then affine layers."""


class Residual(nn.Sequential):
    """Layers whose input is added to their output: `x + layers(x)` (He et al. 2015)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the sum, of the shape of `inputs`."""
        outputs = inputs
        for layer in self:
            outputs = layer(outputs)
        return inputs + outputs


class ToChannels(nn.Module):
    """Expands grey images `(batch, height, width)`, or images `(batch, n, height, width)`, to
    `channels` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Return `(batch, channels, height, width)`."""
        if images.dim() == 3:
            images = images.unsqueeze(1)
        return images.expand(-1, self.channels, -1, -1)

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(self.channels)


def image_shape(signature: Signature) -> tuple[int, int, int]:
    """Return channels, height and width of a model's input images.

    Raises:
        Invalid: the inputs are not images.
    """
    shape = signature.inputs.shape
    if len(shape) < 2:
        raise Invalid(
            "requires images, but this data set has rows; choose linear or mlp", ("kind",)
        )
    channels, height, width = shape if len(shape) == 3 else (1, *shape)
    return channels, height, width
