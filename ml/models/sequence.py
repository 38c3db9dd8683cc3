"""Layers in sequence: the shapes between them, and their modules."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import ClassVar, Literal

from torch import nn

from ml.errors import Invalid, located_at
from ml.models.image_layers import AdaptivePoolLayer, Conv2dLayer, GroupNormLayer, PoolLayer
from ml.models.layers import (
    ActivationLayer,
    BatchNormLayer,
    DropoutLayer,
    ELULayer,
    FlattenLayer,
    Layer,
    LayerNormLayer,
    LeakyReLULayer,
    LinearLayer,
    Misfit,
    Place,
    Shape,
    in_words,
    shown,
)
from ml.models.networks import Residual
from ml.suggestions import kinds_of

MAX_NUMBERS = 100_000_000
"""Maximum number of numbers that a layer may give for one row."""


class ResidualLayer(Layer):
    """Layers whose input is added to their output (He et al. 2015)."""

    kind: Literal["residual"]
    layers: list[Layer]

    main: ClassVar[str | None] = "layers"
    example: ClassVar[str] = '{"residual": [{"linear": 64}, "relu"]}'

    def gives(self, place: Place) -> Shape:
        """Return the shape of the inputs, which is also that of the outputs of the layers."""
        with located_at("residual"):
            *_, after = shapes(self.layers, place.shape, f"{place.number}.", place.flattened_by)
        if after != place.shape:
            count, is_flat = place.shape[0], len(place.shape) == 1
            convolution = f'{{"conv2d": {count}, "kernel_size": 3, "padding": "same"}}'
            last = f'{{"linear": {count}}}' if is_flat else convolution
            raise Misfit(
                "adds its input to the output of its layers, so both must have one shape; its "
                f"input is {in_words(place.shape)} and the output {in_words(after)}; end it with "
                f"{last}, or leave out what changes the shape"
            )
        return place.shape

    def build(self, shape: Shape) -> nn.Module:
        """Return the module."""
        return with_layers(Residual(), self.layers, shape)


ALL_LAYERS: tuple[type[Layer], ...] = (
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
    ResidualLayer,
)
LAYERS: dict[str, type[Layer]] = {kind: layer for layer in ALL_LAYERS for kind in kinds_of(layer)}
"""All layers, by kind."""


def shapes(
    layers: Sequence[Layer], shape: Shape, numbered: str = "", flattened_by: str | None = None
) -> list[Shape]:
    """Return the shape of one row before the first of `layers` and after each.

    `numbered` precedes the numbers of the layers in messages, and `flattened_by` is the number of
    an earlier layer that made numbers of images.

    Raises:
        Invalid: a layer does not suit the shape that it gets; `loc` is within `layers`.
    """
    found = [shape]
    for index, layer in enumerate(layers):
        number = f"{numbered}{index + 1}"
        with located_at(index), naming(number, layer.label):
            place = Place(found[-1], number, flattened_by)
            _check_dimensions(layer, place)
            found.append(layer.gives(place))
            if prod(found[-1]) > MAX_NUMBERS:
                raise Misfit(
                    f"gives {shown(found[-1])} = {prod(found[-1]):,} numbers for each row; at most "
                    f"{MAX_NUMBERS:,} are allowed"
                )
        if isinstance(layer, FlattenLayer) and len(place.shape) > 1:
            flattened_by = number
    return found


def with_layers(network: nn.Sequential, layers: Sequence[Layer], shape: Shape) -> nn.Sequential:
    """Add the modules of `layers`, for rows of `shape`, to `network`, and return it."""
    for index, (layer, before) in enumerate(zip(layers, shapes(layers, shape), strict=False)):
        network.add_module(layer.name or str(index), layer.build(before))
    return network


@contextmanager
def naming(number: str, label: str) -> Iterator[None]:
    """Name the layer in each `Misfit` raised in this context, which becomes an `Invalid`."""
    try:
        yield
    except Misfit as error:
        raise Invalid(f"layer {number} ({label}): {error.msg}", error.loc) from None


def _check_dimensions(layer: Layer, place: Place) -> None:
    """Check that a layer of images gets images, and one of numbers gets numbers."""
    is_flat = len(place.shape) == 1
    if layer.takes == "images" and is_flat:
        remedy = (
            f", since layer {place.flattened_by} flattens; put it before flatten"
            if place.flattened_by
            else ", since the rows of this data set are not images; use linear instead"
        )
        raise Misfit(
            f"takes images of channels x height x width, and gets {in_words(place.shape)}{remedy}"
        )
    if layer.takes == "numbers" and not is_flat:
        raise Misfit(
            f"takes a row of numbers, and gets {in_words(place.shape)}; put flatten before it"
        )
