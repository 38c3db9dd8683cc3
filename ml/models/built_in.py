"""Specs of the networks whose layers epochd chooses: linear, MLP, CNN, and those of torchvision."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from torch import nn

from ml.dropout import HIGHEST, Dropout
from ml.errors import Invalid
from ml.models.networks import (
    ACTIVATIONS,
    CNN,
    MLP,
    Activation,
    Embed,
    Linear,
    ToChannels,
    image_shape,
)
from ml.signature import Features, Signature
from ml.strict import Strict

MAX_WIDTH = 1_000_000
MAX_LAYERS = 64
MIN_SIZES = {"densenet121": 29, "convnext_tiny": 32}
"""Minimum height and width of images, for the networks of torchvision that have one."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Probability = Annotated[float, Field(ge=0, le=HIGHEST)]
# The tag is chosen before validation; otherwise each error would be reported for both types.
OneOrEach = Annotated[
    Annotated[Probability, Tag("one")] | Annotated[list[Probability], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, list) else "one"),
]


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
