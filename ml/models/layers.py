"""Layers of a user's own network: their options, the shapes they take and give, and their modules.

Names, options and defaults are those of torch, in snake case. Shapes are those of one row:
`(numbers,)`, or `(channels, height, width)`. To add a layer, write a `Layer` and add it to
`SIMPLE_LAYERS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_serializer, model_validator
from torch import nn

from ml.dropout import Dropout
from ml.errors import Invalid
from ml.models.built_in import Probability, Width
from ml.models.networks import ACTIVATIONS
from ml.strict import Strict

MAX_NAME = 64
MAX_SIZE = 1000
"""Maximum of kernel sizes, strides, paddings and output sizes."""

Shape = tuple[int, ...]


def _written_as(value: object) -> str:
    return "each" if isinstance(value, list) else "word" if isinstance(value, str) else "both"


Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Margin = Annotated[int, Field(ge=0, le=MAX_SIZE)]
# One number for both dimensions, or one for each. The tag is chosen before validation; otherwise
# each error would be reported for all types.
Sizes = Annotated[
    Annotated[Size, Tag("both")]
    | Annotated[list[Size], Field(min_length=2, max_length=2), Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, list) else "both"),
]
Margins = Annotated[
    Annotated[Margin, Tag("both")]
    | Annotated[list[Margin], Field(min_length=2, max_length=2), Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, list) else "both"),
]
Padding = Annotated[
    Annotated[Margin, Tag("both")]
    | Annotated[list[Margin], Field(min_length=2, max_length=2), Tag("each")]
    | Annotated[Literal["same", "valid"], Tag("word")],
    Discriminator(_written_as),
]


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


class GroupNormLayer(Layer):
    """Group normalisation (Wu & He 2018) of the channels of images."""

    kind: Literal["group_norm"]
    num_groups: Width
    eps: float = Field(default=1e-5, gt=0, le=1)
    affine: bool = True

    main = "num_groups"
    example = '{"group_norm": 8}'
    takes = "images"

    def gives(self, place: Place) -> Shape:
        """Return the shape of the inputs."""
        if place.shape[0] % self.num_groups:
            raise Misfit(
                f"{place.shape[0]} channels cannot be divided into {self.num_groups} equal groups",
                ("num_groups",),
            )
        return place.shape

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.GroupNorm(self.num_groups, shape[0], self.eps, self.affine)


def both(sizes: int | list[int]) -> tuple[int, int]:
    """Return height and width of a size that is one number for both, or a list."""
    height, width = sizes if isinstance(sizes, list) else (sizes, sizes)
    return height, width


class Window(Layer):
    """A layer that moves a window over images."""

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Padding = 0

    takes = "images"

    def channels(self, inputs: int) -> int:
        """Return the number of channels of the outputs."""
        return inputs

    def gives(self, place: Place) -> Shape:
        """Return channels, height and width of the outputs."""
        if self.padding == "same":
            return (self.channels(place.shape[0]), *place.shape[1:])
        sizes = [self._positions(axis, size) for axis, size in enumerate(place.shape[1:])]
        if min(sizes) < 1:
            raise Misfit(
                f"a window of {shown(self._window())} does not fit into the images it gets, "
                f"{shown(place.shape[1:])}; choose a smaller kernel_size, or shrink the images "
                "less before it",
                ("kernel_size",),
            )
        return (self.channels(place.shape[0]), *sizes)

    def _window(self) -> Shape:
        """Return height and width of the window."""
        return both(self.kernel_size)

    def _margins(self) -> tuple[int, int]:
        return (0, 0) if isinstance(self.padding, str) else both(self.padding)

    def _strides(self) -> tuple[int, int]:
        return both(self.kernel_size if self.stride is None else self.stride)

    def _positions(self, axis: int, size: int) -> int:
        """Return how many positions the window takes along an axis of `size`."""
        free = size + 2 * self._margins()[axis] - self._window()[axis]
        return free // self._strides()[axis] + 1


class Conv2dLayer(Window):
    """A convolution of images."""

    kind: Literal["conv2d"]
    out_channels: Width
    stride: Sizes = 1
    dilation: Sizes = 1
    groups: Width = 1
    bias: bool = True

    main = "out_channels"
    example = '{"conv2d": 32, "kernel_size": 3}'

    @model_validator(mode="after")
    def _same_size_needs_stride_1(self) -> "Conv2dLayer":
        if self.padding == "same" and both(self.stride) != (1, 1):
            raise ValueError(
                'padding "same" needs a stride of 1; leave stride out, or give numbers'
            )
        return self

    def channels(self, inputs: int) -> int:
        """Return the number of channels of the outputs."""
        for what, count in (("channels", inputs), ("output channels", self.out_channels)):
            if count % self.groups:
                raise Misfit(
                    f"{count} {what} cannot be divided into {self.groups} equal groups", ("groups",)
                )
        return self.out_channels

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return nn.Conv2d(
            shape[0],
            self.out_channels,
            both(self.kernel_size),
            both(self.stride),
            self.padding if isinstance(self.padding, str) else both(self.padding),
            both(self.dilation),
            self.groups,
            self.bias,
        )

    def _window(self) -> Shape:
        sizes = zip(both(self.kernel_size), both(self.dilation), strict=True)
        return tuple(dilation * (kernel - 1) + 1 for kernel, dilation in sizes)


class PoolLayer(Window):
    """The greatest number, or the mean, of each window of images."""

    kind: Literal["max_pool2d", "avg_pool2d"]
    padding: Margins = 0
    ceil_mode: bool = False

    main = "kernel_size"
    example = '{"max_pool2d": 2}'

    @model_validator(mode="after")
    def _windows_are_not_empty(self) -> "PoolLayer":
        pairs = zip(both(self.padding), both(self.kernel_size), strict=True)
        if any(padding > kernel // 2 for padding, kernel in pairs):
            raise ValueError("padding must be at most half of kernel_size")
        return self

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        pool = nn.MaxPool2d if self.kind == "max_pool2d" else nn.AvgPool2d
        return pool(
            both(self.kernel_size), self._strides(), both(self.padding), ceil_mode=self.ceil_mode
        )

    def _positions(self, axis: int, size: int) -> int:
        if not self.ceil_mode:
            return super()._positions(axis, size)
        stride, margin = self._strides()[axis], self._margins()[axis]
        positions = -(-(size + 2 * margin - self._window()[axis]) // stride) + 1
        # The last window must begin within the image or the margin before it.
        return positions - ((positions - 1) * stride >= size + margin)


class AdaptivePoolLayer(Layer):
    """The mean, or the greatest number, of each of `output_size` equal parts of images."""

    kind: Literal["adaptive_avg_pool2d", "adaptive_max_pool2d"]
    output_size: Sizes

    main = "output_size"
    example = '{"adaptive_avg_pool2d": 1}'
    takes = "images"

    def gives(self, place: Place) -> Shape:
        """Return channels, height and width of the outputs."""
        return (place.shape[0], *both(self.output_size))

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        is_mean = self.kind == "adaptive_avg_pool2d"
        return (nn.AdaptiveAvgPool2d if is_mean else nn.AdaptiveMaxPool2d)(both(self.output_size))


def shown(shape: Shape) -> str:
    """Return a shape for a message: `8 x 26 x 26`."""
    return " x ".join(f"{size:,}" for size in shape)


def in_words(shape: Shape) -> str:
    """Return what a shape holds: `64 numbers`, or `images of 8 x 26 x 26`."""
    if len(shape) > 1:
        return f"images of {shown(shape)} (channels x height x width)"
    return f"{shape[0]:,} number{'s' * (shape[0] != 1)}"


SIMPLE_LAYERS: tuple[type[Layer], ...] = (
    LinearLayer,
    ActivationLayer,
    LeakyReLULayer,
    ELULayer,
    DropoutLayer,
    FlattenLayer,
    BatchNormLayer,
    LayerNormLayer,
    GroupNormLayer,
    Conv2dLayer,
    PoolLayer,
    AdaptivePoolLayer,
)
"""All layers but the one that holds others, `ml.models.sequence.ResidualLayer`."""
