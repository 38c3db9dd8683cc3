"""Networks and the specs that build them.

To add a model, write a `Strict` spec with a `build` method and add it to `ModelSpec`.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Discriminator, Field, Tag, model_validator
from torch import Tensor, nn

from ml.dropout import HIGHEST, Dropout
from ml.errors import Invalid
from ml.signature import Features, Signature
from ml.strict import Strict

MAX_WIDTH = 1_000_000
MAX_LAYERS = 64
MIN_SIZES = {"densenet121": 29, "convnext_tiny": 32}
"""Minimum height and width of images, for the networks of torchvision that have one."""

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

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Probability = Annotated[float, Field(ge=0, le=HIGHEST)]
# The tag is chosen before validation; otherwise each error would be reported for both types.
OneOrEach = Annotated[
    Annotated[Probability, Tag("one")] | Annotated[list[Probability], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, list) else "one"),
]


class Linear(nn.Sequential):
    """One affine layer: linear regression for a value, softmax regression for classes."""


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


class LinearSpec(Strict):
    """`y = W x + b`."""

    kind: Literal["linear"] = "linear"

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from encoded inputs `(batch, ...)` to `(batch, size)`."""
        return Linear(nn.Flatten(), nn.Linear(signature.inputs.width, signature.output.size))


class MLPSpec(Strict):
    """A multilayer perceptron."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field(
        default=[512, 256], min_length=1, max_length=MAX_LAYERS, description="Hidden layer sizes."
    )
    activation: Activation = "relu"
    dropout: OneOrEach = Field(
        default=0.0,
        description="Dropout probability after each activation: one number for all hidden layers, "
        "or a list with one number per hidden layer.",
    )

    embedding: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Embedding size of the values of a table's categorical columns; by default, "
        "values are one-hot encoded.",
    )

    @model_validator(mode="after")
    def _one_dropout_per_layer(self) -> "MLPSpec":
        if isinstance(self.dropout, list) and len(self.dropout) != len(self.hidden):
            raise ValueError(
                f"dropout lists {len(self.dropout)} probabilities for {len(self.hidden)} hidden "
                "layers; give one number for all of them, or one per layer"
            )
        return self

    @property
    def dropouts(self) -> list[float]:
        """The dropout probability of each hidden layer."""
        return self.dropout if isinstance(self.dropout, list) else [self.dropout] * len(self.hidden)

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from encoded inputs `(batch, ...)` to `(batch, size)`."""
        layers: list[nn.Module] = [nn.Flatten()]
        width = signature.inputs.width
        if self.embedding and isinstance(signature.inputs, Features):
            layers = [embed := Embed(signature.inputs, self.embedding)]
            width = embed.width
        for hidden, dropout in zip(self.hidden, self.dropouts, strict=True):
            layers += [nn.Linear(width, hidden), ACTIVATIONS[self.activation]()]
            if dropout:
                layers.append(Dropout(dropout))
            width = hidden
        return MLP(*layers, nn.Linear(width, signature.output.size))


class CNNSpec(Strict):
    """A small convolutional network for images: size-preserving convolutions, each followed by an
    activation and a pooling that halves the size, then hidden layers."""

    kind: Literal["cnn"] = "cnn"
    channels: list[Width] = Field(
        default=[32, 64],
        min_length=1,
        max_length=8,
        description="Output channels of each convolution.",
    )
    kernel_size: Literal[1, 3, 5, 7] = 3
    hidden: list[Width] = Field(
        default=[128], max_length=MAX_LAYERS, description="Hidden layer sizes."
    )
    activation: Activation = "relu"
    dropout: Probability = Field(
        default=0.5, description="Dropout probability after each hidden layer."
    )

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from `(batch, *signature.inputs.shape)` to `(batch, size)`.

        Raises:
            Invalid: the inputs are not images, or too small for the number of poolings.
        """
        in_channels, height, width = image_shape(signature)
        halved = 2 ** len(self.channels)
        if min(height, width) < halved:
            raise Invalid(
                f"{len(self.channels)} poolings reduce {height}x{width} images to nothing; list "
                "fewer channels",
                ("channels",),
            )
        layers: list[nn.Module] = [ToChannels(in_channels)]
        for out_channels in self.channels:
            layers += [
                nn.Conv2d(in_channels, out_channels, self.kernel_size, padding="same"),
                ACTIVATIONS[self.activation](),
                nn.MaxPool2d(2),
            ]
            in_channels = out_channels
        layers.append(nn.Flatten())
        size = in_channels * (height // halved) * (width // halved)
        for hidden in self.hidden:
            layers += [nn.Linear(size, hidden), ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(Dropout(self.dropout))
            size = hidden
        return CNN(*layers, nn.Linear(size, signature.output.size))


class TorchvisionSpec(Strict):
    """An untrained network of `torchvision.models`. Grey images become three equal channels."""

    kind: Literal["torchvision"] = "torchvision"
    name: Literal[
        "resnet18",
        "resnet34",
        "resnet50",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "densenet121",
        "efficientnet_b0",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "shufflenet_v2_x1_0",
        "regnet_y_400mf",
        "convnext_tiny",
    ]

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from `(batch, *signature.inputs.shape)` to `(batch, size)`.

        Raises:
            Invalid: the inputs are not images, or too small for the network.
        """
        # Imported here because the import is slow and other models do not need it.
        from torchvision.models import get_model

        _, height, width = image_shape(signature)
        if min(height, width) < (least := MIN_SIZES.get(self.name, 1)):
            raise Invalid(
                f"{self.name} requires images of at least {least}x{least}, and these are "
                f"{height}x{width}; choose another network",
                ("name",),
            )
        network = get_model(self.name, weights=None, num_classes=signature.output.size)
        return nn.Sequential(ToChannels(3), network)


AnyModel = LinearSpec | MLPSpec | CNNSpec | TorchvisionSpec
ModelSpec = Annotated[AnyModel, Field(discriminator="kind")]
KINDS: dict[str, type[AnyModel]] = {
    kind: spec
    for spec in get_args(AnyModel)
    for kind in get_args(spec.model_fields["kind"].annotation)
}


def stored_model(document: Mapping[str, Any]) -> ModelSpec:
    """Return the spec in a trained model's manifest without validating it again: later rules may be
    stricter than those at training."""
    return KINDS[document["kind"]].model_construct(**document)


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


def blueprint(spec: ModelSpec, signature: Signature) -> nn.Module:
    """Return the network without memory for its parameters.

    Raises:
        Invalid: the model does not fit the signature; `loc` is within the spec.
    """
    try:
        with torch.device("meta"):
            return spec.build(signature)
    except NotImplementedError:
        # Some networks compute their widths with tensors; none of these is large.
        return spec.build(signature).to("meta")


def count_parameters(spec: ModelSpec, signature: Signature) -> int:
    """Return the number of parameters of the network, without allocating them.

    Raises:
        Invalid: the model does not fit the signature; `loc` is within the spec.
    """
    return sum(parameter.numel() for parameter in blueprint(spec, signature).parameters())
