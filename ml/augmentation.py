"""Random changes of training images: each is moved, turned and scaled by numbers of its own.

The changes of an image are one affine map, applied once, so that its pixels are interpolated once.
(`torchvision.transforms.v2` draws once per call, which would change all images of a batch alike.)
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from pydantic import BeforeValidator, Discriminator, Field, Tag
from torch import Generator, Tensor
from torch.nn import functional

from ml.strict import MAX_SHOWN, Strict
from ml.suggestions import close_match

MAX_CHANGES = 16
ROWS_AT_ONCE = 65_536

Fraction = Annotated[float, Field(gt=0, le=0.9)]


class Flip(Strict):
    """Half of the images are mirrored."""

    flip: Literal["horizontal", "vertical"] = "horizontal"
    draws: ClassVar[int] = 1
    """Random numbers per image."""

    def inverse(self, chances: Tensor, height: int, width: int) -> Tensor:
        """Return the maps `(rows, 3, 3)` from a changed image back to its pixels, given `chances`
        `(rows, draws)` from 0 to 1; coordinates are in pixels from the centre, x before y."""
        one = torch.ones_like(chances[:, 0])
        side = one.copysign(chances[:, 0] - 0.5)
        x, y = (side, one) if self.flip == "horizontal" else (one, side)
        return _maps(x, 0 * one, 0 * one, y)


class Crop(Strict):
    """Images are moved by whole pixels, as by a crop at random of an image with a border of 0."""

    crop: int = Field(ge=1, le=1000, description="Maximum number of pixels in either direction.")
    draws: ClassVar[int] = 2

    def inverse(self, chances: Tensor, height: int, width: int) -> Tensor:
        """Return the inverse maps; see `Flip.inverse`."""
        return _moves((chances * (2 * self.crop + 1)).floor() - self.crop)


class Shift(Strict):
    """Images are moved by fractions of their size."""

    shift: Fraction = Field(description="Maximum share of width and height.")
    draws: ClassVar[int] = 2

    def inverse(self, chances: Tensor, height: int, width: int) -> Tensor:
        """Return the inverse maps; see `Flip.inverse`."""
        return _moves(_between(chances, self.shift) * chances.new_tensor([width, height]))


class Rotate(Strict):
    """Images are turned about their centre."""

    rotate: float = Field(gt=0, le=180, description="Maximum angle in degrees, either way.")
    draws: ClassVar[int] = 1

    def inverse(self, chances: Tensor, height: int, width: int) -> Tensor:
        """Return the inverse maps; see `Flip.inverse`."""
        angles = _between(chances[:, 0], math.radians(self.rotate))
        return _maps(angles.cos(), -angles.sin(), angles.sin(), angles.cos())


class Scale(Strict):
    """Images are enlarged and made smaller."""

    scale: Fraction = Field(description="Maximum change: 0.1 for a factor from 0.9 to 1.1.")
    draws: ClassVar[int] = 1

    def inverse(self, chances: Tensor, height: int, width: int) -> Tensor:
        """Return the inverse maps; see `Flip.inverse`."""
        shrunk = 1 / (1 + _between(chances[:, 0], self.scale))
        return _maps(shrunk, 0 * shrunk, 0 * shrunk, shrunk)


class Shear(Strict):
    """Images are slanted."""

    shear: float = Field(gt=0, le=80, description="Maximum angle in degrees, either way.")
    draws: ClassVar[int] = 1

    def inverse(self, chances: Tensor, height: int, width: int) -> Tensor:
        """Return the inverse maps; see `Flip.inverse`."""
        slants = _between(chances[:, 0], math.radians(self.shear)).tan()
        one = torch.ones_like(slants)
        return _maps(one, slants, 0 * one, one)


AnyChange = Flip | Crop | Shift | Rotate | Scale | Shear
CHANGES: dict[str, type[AnyChange]] = {
    next(iter(kind.model_fields)): kind for kind in get_args(AnyChange)
}


def _name(change: Any) -> str | None:
    return next(iter(change if isinstance(change, dict) else type(change).model_fields), None)


def _document(written: object) -> object:
    """Return a change as a document: its name stands for its default, if it has one."""
    if isinstance(written, AnyChange):
        return written
    if not isinstance(written, str | dict) or (isinstance(written, dict) and len(written) != 1):
        raise ValueError('must be a name such as "flip", or a mapping such as {"rotate": 10}')
    name = written if isinstance(written, str) else next(iter(written))
    if name not in CHANGES:
        meant = f"did you mean {found}? " if (found := close_match(str(name), CHANGES)) else ""
        shown = str(name)[:MAX_SHOWN]
        raise ValueError(f"unknown change {shown!r}; {meant}known: {', '.join(CHANGES)}")
    if isinstance(written, dict):
        return written
    if CHANGES[name].model_fields[name].is_required():
        raise ValueError(f'{name} needs a number; write {{"{name}": …}}')
    return {name: CHANGES[name].model_fields[name].default}


Change = Annotated[
    Annotated[Flip, Tag("flip")]
    | Annotated[Crop, Tag("crop")]
    | Annotated[Shift, Tag("shift")]
    | Annotated[Rotate, Tag("rotate")]
    | Annotated[Scale, Tag("scale")]
    | Annotated[Shear, Tag("shear")],
    Discriminator(_name),
    BeforeValidator(_document, json_schema_input_type=Literal["flip"] | AnyChange),
]


def draw(changes: Sequence[AnyChange], rows: int, size: tuple[int, int], seed: int) -> Tensor:
    """Return random maps `(rows, 2, 3)` from changed images of `size`, height and width, to their
    pixels, in the coordinates of `torch.nn.functional.affine_grid`.

    The map of a row depends on its number and the seed only.
    """
    height, width = size
    draws = [change.draws for change in changes]
    chances = torch.rand(
        rows, sum(draws), generator=Generator().manual_seed(seed), dtype=torch.float64
    )
    half = chances.new_tensor([width / 2, height / 2, 1.0])
    scaling = half[None, :] / half[:, None]
    drawn = []
    for part in torch.split(chances, ROWS_AT_ONCE):
        maps = torch.eye(3, dtype=torch.float64).expand(len(part), 3, 3)
        for change, own in zip(changes, torch.split(part, draws, dim=1), strict=True):
            maps = maps @ change.inverse(own, height, width)
        drawn.append((maps * scaling)[:, :2].float())
    return torch.cat(drawn)


def change_images(images: Tensor, maps: Tensor) -> None:
    """Change 8-bit `images` `(rows, height, width)` or `(rows, channels, height, width)` in place
    by `maps` `(rows, 2, 3)`; what comes from outside an image is 0."""
    pixels = images.unsqueeze(1) if images.dim() == 3 else images
    grid = functional.affine_grid(maps, [len(pixels), 1, *pixels.shape[2:]], align_corners=False)
    changed = functional.grid_sample(pixels.float(), grid, align_corners=False)
    pixels.copy_(changed.round_())


def _between(chances: Tensor, most: float) -> Tensor:
    return (2 * chances - 1) * most


def _maps(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    """Return linear maps of x and y."""
    zero, one = torch.zeros_like(xx), torch.ones_like(xx)
    return torch.stack([xx, xy, zero, yx, yy, zero, zero, zero, one], 1).view(-1, 3, 3)


def _moves(by: Tensor) -> Tensor:
    maps = torch.eye(3, dtype=by.dtype).repeat(len(by), 1, 1)
    maps[:, :2, 2] = by
    return maps
