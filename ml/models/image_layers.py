"""Layers that take images, `(channels, height, width)` a row."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from torch import nn

from ml.models.built_in import Width
from ml.models.layers import Layer, Misfit, Place, Shape, shown

MAX_SIZE = 1000
"""Maximum of kernel sizes, strides, paddings and output sizes."""


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
