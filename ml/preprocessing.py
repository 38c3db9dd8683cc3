"""Layers fitted on the training split and saved with the model, so that it takes raw values."""

import torch
from torch import Tensor, nn

from ml.signature import Encoding, Features, Images

ROUNDING = 1e-14
"""A deviation, relative to the mean, that comes of float64 alone."""


class Standardize(nn.Module):
    """`(x / unit - mean) / std`, whatever number type `x` comes in.

    `mean` and `std` have shape `()` (one for all inputs) or that of one input; `unit` is the raw
    value that stands for 1 (255 for pixels of one byte). Input `(batch, ...)`, output float32 of
    the same shape.
    """

    mean: Tensor
    std: Tensor
    unit: Tensor

    def __init__(self, mean: Tensor, std: Tensor, unit: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", mean.to(torch.float32))
        self.register_buffer("std", std.to(torch.float32))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.float32))

    @classmethod
    def blank(cls, shape: torch.Size) -> "Standardize":
        """Return a layer that changes nothing, to be filled from a saved state."""
        return cls(torch.zeros(shape), torch.ones(shape))

    @classmethod
    def fit(cls, inputs: Tensor) -> "Standardize":
        """Return the layer that gives each column of `inputs` (rows, columns) mean 0 and std 1."""
        std = inputs.std(dim=0, correction=0)
        # A constant column carries nothing: it becomes 0, not 0/0.
        return cls(inputs.mean(dim=0), torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, raw: Tensor) -> Tensor:
        """Return the standardised batch."""
        return standardized(raw, self.offset(), self.factor())

    def offset(self) -> Tensor:
        """Return what is subtracted from raw inputs ..."""
        return self.mean * self.unit

    def factor(self) -> Tensor:
        """... and what the difference is multiplied by."""
        return 1 / (self.std * self.unit)

    def extra_repr(self) -> str:
        """Show the figures where they are few."""
        if self.mean.numel() > 8:
            return f"{self.mean.numel()} columns"
        return f"mean={_rounded(self.mean)}, std={_rounded(self.std)}, unit={self.unit.item():g}"


def standardized(raw: Tensor, offset: Tensor, factor: Tensor) -> Tensor:
    """Return `(raw - offset) * factor` in float32."""
    # The difference first, or numbers far from 0 would lose their last digits; and in place, in a
    # tensor that is nobody's but ours.
    return raw.to(torch.float32, copy=True).sub_(offset).mul_(factor)


class Encode(nn.Module):
    """Rows of a table to numbers: gaps filled, numbers standardised, categories one-hot.

    Input `(batch, features)` float64 as `ml.signature.Features` describes it, output
    `(batch, encoding.width)` float32. A number's gap becomes 0, the mean of the training rows; a
    categorical value that no training row had, as a gap, becomes 0 in every column of its feature.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: Features, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        encoding = features.encoding or Encoding(width=len(features.names))
        place = {name: index for index, name in enumerate(features.names)}
        numbers = [place[name] for name in features.numbers]
        values = [
            (place[name], value)
            for name, categories in encoding.categories.items()
            for value in range(len(categories))
        ]
        self.register_buffer("mean", mean.double())
        self.register_buffer("std", std.double())
        self._width = encoding.width
        # Where each output column comes from. Told by the signature, so not saved again.
        for name, indices in {
            "_numbers": numbers,
            "_features": [feature for feature, _ in values],
            "_values": [value for _, value in values],
            "_gaps": [place[name] for name in encoding.gaps],
        }.items():
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64), persistent=False)

    @classmethod
    def blank(cls, features: Features) -> "Encode":
        """Return a layer to be filled from a saved state."""
        count = len(features.numbers)
        return cls(features, torch.zeros(count), torch.ones(count))

    @classmethod
    def fit(cls, features: Features, inputs: Tensor) -> "Encode":
        """Return the layer that gives each column of numbers in `inputs` (rows, features) mean 0
        and standard deviation 1."""
        layer = cls.blank(features)
        numbers = inputs.index_select(1, layer.get_buffer("_numbers"))
        # A column without any number carries nothing, nor does a constant one: they become 0.
        mean = numbers.nanmean(dim=0).nan_to_num(0.0)
        std = (numbers - mean).square().nanmean(dim=0).nan_to_num(0.0).sqrt()
        # The mean of equal numbers is not always that number to its last bit.
        return cls(features, mean, torch.where(std > ROUNDING * mean.abs(), std, 1.0))

    def forward(self, raw: Tensor) -> Tensor:
        """Return the encoded batch."""
        numbers = raw.index_select(1, self.get_buffer("_numbers"))
        numbers = (numbers - self.mean) / self.std
        numbers = torch.where(numbers.isnan(), 0.0, numbers).float()
        if numbers.shape[1] == self._width:
            return numbers
        values = raw.index_select(1, self.get_buffer("_features")) == self.get_buffer("_values")
        gaps = raw.index_select(1, self.get_buffer("_gaps")).isnan()
        return torch.cat([numbers, values.float(), gaps.float()], dim=1)

    def undo(self, features: Features, weights: Tensor) -> tuple[dict[str, float], float]:
        """Return what `weights` (encoding.width,) float64 of encoded columns are in the units of
        the raw ones, by name, and what is to be added to the bias."""
        encoding = features.encoding or Encoding(width=len(features.names))
        categories, numbers = encoding.categories, features.numbers
        slopes = weights[: len(numbers)] / self.std
        shifts = slopes * self.mean
        named = dict(zip(numbers, slopes.tolist(), strict=True))
        means = dict(zip(numbers, shifts.tolist(), strict=True))
        columns = [f"{name}={value}" for name, values in categories.items() for value in values]
        rest = weights[len(numbers) :].tolist()
        named |= dict(zip(columns, rest, strict=False))
        for name, weight in zip(encoding.gaps, rest[len(columns) :], strict=True):
            # Encoded, a number that is missing is the mean.
            named[f"{name} is missing"] = weight + means.get(name, 0.0)
        return named, -shifts.sum().item()

    def extra_repr(self) -> str:
        """Show how many columns of each kind it makes."""
        kinds = ("_numbers", "numbers"), ("_values", "values of categories"), ("_gaps", "gaps")
        return ", ".join(f"{len(self.get_buffer(b))} {name}" for b, name in kinds)


def blank(inputs: Features | Images, state: dict[str, Tensor]) -> nn.Module:
    """Return the layer that `state`, of a whole saved model, holds the figures of."""
    if isinstance(inputs, Features) and inputs.encoding:
        return Encode.blank(inputs)
    if "preprocessing.mean" in state:
        return Standardize.blank(state["preprocessing.mean"].shape)
    return nn.Identity()


def _rounded(tensor: Tensor) -> str:
    numbers = [f"{number:.4g}" for number in tensor.flatten().tolist()]
    return numbers[0] if tensor.dim() == 0 else f"[{', '.join(numbers)}]"
