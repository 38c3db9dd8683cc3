"""Layers of a user's own network: their options, the shapes they take and give, and their modules.

Names, options and defaults are those of torch, in snake case. Shapes are those of one row:
`(numbers,)`, or `(channels, height, width)`. Layers of images only are in
`ml.models.image_layers`; to add a layer, write a `Layer` and add it to `ALL_LAYERS` of
`ml.models.sequence`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_serializer
from torch import nn

from ml.dropout import Dropout
from ml.errors import Invalid
from ml.models.built_in import Probability, Width
from ml.models.networks import ACTIVATIONS
from ml.strict import Strict

MAX_NAME = 64

Shape = tuple[int, ...]


def _usable_name(name: str) -> str:
    if len(name) > MAX_NAME or not (name.isascii() and name.isidentifier()):
        raise ValueError(
            f"must be a letter or _, then letters, digits and _, at most {MAX_NAME} in all, as fc1"
        )
    if hasattr(nn.Sequential(), name):
        raise ValueError(f"{name!r} is taken by PyTorch; choose another name")
    return name


LayerName = Annotated[str, AfterValidator(_usable_name)]


class Misfit(Invalid):
    """A layer that does not suit its place; the message does not name the layer yet."""


@dataclass(frozen=True)
class Place:
    """Where a layer stands in its network."""

    shape: Shape
    """Shape of its inputs."""
    number: str
    """Its number, counted from 1: `3`, or within a residual layer `3.1`."""
    flattened_by: str | None
    """Number of the layer that made numbers of the images, if any."""


class Layer(Strict):
    """A layer of a network."""

    kind: str
    name: LayerName | None = None

    main: ClassVar[str | None] = None
    """The option that is the value of the layer's kind: 64 in `{"linear": 64}`."""
    example: ClassVar[str] = ""
    takes: ClassVar[Literal["numbers", "images", "any"]] = "any"

    @property
    def label(self) -> str:
        """Kind and name, for messages."""
        return self.kind if self.name is None else f"{self.kind} {self.name!r}"

    def gives(self, place: Place) -> Shape:
        """Return the shape of the outputs.

        Raises:
            Misfit: the inputs do not suit the layer.
        """
        return place.shape

    def build(self, shape: Shape) -> nn.Module:
        """Return the module for inputs of `shape`, which suits the layer."""
        raise NotImplementedError

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in type(self).model_fields}
        kind, name = options.pop("kind"), options.pop("name")
        written = {kind: {} if self.main is None else options.pop(self.main)} | options
        return written if name is None else written | {"name": name}


class LinearLayer(Layer):
    """`y = W x + b`."""

    kind: Literal["linear"]
    out_features: Width
    bias: bool = True

    main = "out_features"
    example = '{"linear": 64}'
    takes = "numbers"

    def gives(self, place: Place) -> Shape:
        """Return the number of outputs."""
        return (self.out_features,)

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.Linear(shape[0], self.out_features, self.bias)


class ActivationLayer(Layer):
    """An elementwise function without options."""

    kind: Literal["relu", "gelu", "silu", "tanh", "sigmoid", "softplus", "mish", "selu"]

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return ELEMENTWISE[self.kind]()


ELEMENTWISE: Mapping[str, Callable[[], nn.Module]] = {
    **{str(name): activation for name, activation in ACTIVATIONS.items()},
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "selu": nn.SELU,
}


class LeakyReLULayer(Layer):
    """`x` above 0, and `negative_slope * x` below."""

    kind: Literal["leaky_relu"]
    negative_slope: float = Field(default=0.01, ge=0, le=1)

    main = "negative_slope"

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.LeakyReLU(self.negative_slope)


class ELULayer(Layer):
    """`x` above 0, and `alpha * (exp(x) - 1)` below."""

    kind: Literal["elu"]
    alpha: float = Field(default=1.0, gt=0, le=1000)

    main = "alpha"

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.ELU(self.alpha)


class DropoutLayer(Layer):
    """In training, sets each number to 0 with probability `p`."""

    kind: Literal["dropout"]
    p: Probability = 0.5

    main = "p"

    def build(self, shape: Shape) -> nn.Module:
        """Return the module, which draws as the engines do."""
        return Dropout(self.p)


class FlattenLayer(Layer):
    """Makes a row of numbers of images."""

    kind: Literal["flatten"]

    def gives(self, place: Place) -> Shape:
        """Return the number of numbers."""
        return (prod(place.shape),)

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.Flatten()


class BatchNormLayer(Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of each number, or each channel of images."""

    kind: Literal["batch_norm"]
    eps: float = Field(default=1e-5, gt=0, le=1)
    momentum: float = Field(default=0.1, ge=0, le=1)
    affine: bool = True

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        layer = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
        return layer(shape[0], self.eps, self.momentum, self.affine)


class LayerNormLayer(Layer):
    """Layer normalisation (Ba et al. 2016) over all numbers of a row."""

    kind: Literal["layer_norm"]
    eps: float = Field(default=1e-5, gt=0, le=1)
    elementwise_affine: bool = True

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.LayerNorm(shape, self.eps, self.elementwise_affine)


def shown(shape: Shape) -> str:
    """Return a shape for a message: `8 x 26 x 26`."""
    return " x ".join(f"{size:,}" for size in shape)


def in_words(shape: Shape) -> str:
    """Return what a shape holds: `64 numbers`, or `images of 8 x 26 x 26`."""
    if len(shape) > 1:
        return f"images of {shown(shape)} (channels x height x width)"
    return f"{shape[0]:,} number{'s' * (shape[0] != 1)}"
