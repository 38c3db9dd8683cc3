"""Layers that standardise images and encode the rows of tables."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ml.preprocessing.date_parts import date_parts, first_days
from ml.signature import DATE_PARTS, Encoding, Features, Images
from ml.spelling import UNKNOWN

Moments = tuple[Tensor, Tensor]
"""Mean and standard deviation of columns."""

ROUNDING = {torch.float32: torch.finfo(torch.float32).eps, torch.float64: 1e-14}
"""Spread of a column, relative to its values, attributable to rounding."""
COLUMNS_AT_ONCE = 16
NEVER = UNKNOWN - 1
"""Code that no value has."""


def moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column of `inputs` (rows, columns), both float64,
    of the values other than NaN.

    The standard deviation of a column that is empty or, up to rounding, constant is infinite:
    divided by it, every number becomes 0, so the column is masked.
    """
    rounding = ROUNDING[inputs.dtype]
    parts = [
        _moments(part.double(), rounding) for part in torch.split(inputs, COLUMNS_AT_ONCE, dim=1)
    ]
    mean, std = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, std


def _moments(columns: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    known = columns.isnan().logical_not_().byte()
    # Relative to one of its values, a constant column is exactly 0, however large.
    first = columns.gather(0, known.argmax(dim=0, keepdim=True))
    away = columns - first
    varies = away.abs().nan_to_num_(0.0).amax(dim=0) > rounding * first.abs().squeeze(0)
    mean = away.nanmean(dim=0)
    std = away.sub_(mean).square_().nanmean(dim=0).sqrt()
    return (mean + first.squeeze(0)).nan_to_num(0.0), torch.where(varies, std, torch.inf)


class Standardize(nn.Module):
    """`(x / unit - mean) / std` for `x` of any numeric dtype.

    `mean` and `std` have shape `()` (one for all inputs) or the shape of one input; `unit` is the
    raw value of 1 (255 for 8-bit pixels). Inputs with an infinite `std` are masked: they become 0,
    whatever they are. The arithmetic is done in `dtype`: float64 for numbers that may be far from
    0. Input `(batch, ...)`, output float32 of the same shape.
    """

    mean: Tensor
    std: Tensor
    unit: Tensor

    def __init__(
        self,
        mean: Tensor,
        std: Tensor,
        unit: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        # The difference from a mean of a masked input could overflow, and infinity times 0 is NaN.
        mean = mean.where(std.isfinite(), 0.0)
        self.register_buffer("mean", mean.to(dtype))
        self.register_buffer("std", std.to(dtype))
        self.register_buffer("unit", torch.tensor(unit, dtype=dtype))

    @classmethod
    def blank(cls, mean: Tensor) -> "Standardize":
        """Return a layer into which a saved state with this mean can be loaded."""
        return cls(torch.zeros_like(mean), torch.ones_like(mean), dtype=mean.dtype)

    @classmethod
    def mask(cls, masked: Tensor) -> "Standardize":
        """Return the layer that masks inputs where `masked` and leaves the others unchanged."""
        return cls(torch.zeros(masked.shape), torch.where(masked, torch.inf, 1.0))

    def forward(self, raw: Tensor) -> Tensor:
        """Return the standardised batch."""
        return standardized(raw, self.offset(), self.factor())

    def offset(self) -> Tensor:
        """Return the offset that is subtracted from raw inputs."""
        return self.mean * self.unit

    def factor(self) -> Tensor:
        """Return the factor by which the difference is multiplied."""
        return 1 / (self.std * self.unit)

    def masked(self) -> Tensor:
        """Return which inputs are masked, in the shape of `std`."""
        return self.std.isinf()

    def extra_repr(self) -> str:
        """Return mean, std and unit, or the number of columns if there are more than 8."""
        if self.mean.numel() > 8:
            return f"{self.mean.numel()} columns"
        return f"mean={_rounded(self.mean)}, std={_rounded(self.std)}, unit={self.unit.item():g}"


def standardized(raw: Tensor, offset: Tensor, factor: Tensor) -> Tensor:
    """Return `(raw - offset) * factor`, computed in the dtype of `offset`, as float32."""
    # Subtracting first keeps the last digits of numbers far from 0. The copy allows in-place steps.
    return raw.to(offset.dtype, copy=True).sub_(offset).mul_(factor).float()


class Encode(nn.Module):
    """Encodes rows of a table: fills gaps, standardises numbers and the parts of dates, and one-hot
    encodes categories.

    Input `(batch, features)` float64 as described by `ml.signature.Features`, output
    `(batch, encoding.width)` float32. A missing number becomes 0, the mean of the training rows, as
    does each part of a missing date; a missing or unknown category becomes 0 in every column of its
    feature. Columns of the features in `encoding.masked` are always 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: Features, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        encoding = features.encoding or Encoding(width=len(features.names))
        place = {name: index for index, name in enumerate(features.names)}
        numbers = [place[name] for name in features.numbers]
        values = [
            (place[name], NEVER if name in encoding.masked else value)
            for name, categories in encoding.categories.items()
            for value in range(len(categories))
        ]
        dates = encoding.dates
        self.register_buffer("mean", mean.double())
        self.register_buffer("std", std.double())
        self.register_buffer("_first", first_days(dates.values()), persistent=False)
        self._width = encoding.width
        # Source of each output column. It follows from the signature, so it is not saved.
        for name, indices in {
            "_numbers": numbers,
            "_dates": [place[name] for name in dates],
            "_parts": [
                index * len(DATE_PARTS) + DATE_PARTS.index(part)
                for index, date in enumerate(dates.values())
                for part in date.parts
            ],
            "_features": [feature for feature, _ in values],
            "_values": [value for _, value in values],
            "_gaps": [place[name] for name in encoding.gaps],
        }.items():
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64), persistent=False)

    @classmethod
    def blank(cls, features: Features) -> "Encode":
        """Return a layer into which a saved state can be loaded."""
        count = features.standardised
        return cls(features, torch.zeros(count), torch.ones(count))

    @classmethod
    def of(
        cls, features: Features, mean: Tensor, std: Tensor, parts: Sequence[Moments] = ()
    ) -> "Encode":
        """Return the layer for `features` whose raw values have these `moments`; `parts` are those
        of the parts of each date."""
        numbers = cls.blank(features).get_buffer("_numbers")
        means, stds = (
            torch.cat([of_numbers[numbers], *of_parts])
            for of_numbers, *of_parts in zip((mean, std), *parts, strict=True)
        )
        return cls(features, means, stds)

    def forward(self, raw: Tensor) -> Tensor:
        """Return the encoded batch."""
        numbers = raw.index_select(1, self.get_buffer("_numbers"))
        if len(self.get_buffer("_parts")):
            days = raw.index_select(1, self.get_buffer("_dates"))
            parts = date_parts(days, self.get_buffer("_first")).flatten(1)
            numbers = torch.cat([numbers, parts.index_select(1, self.get_buffer("_parts"))], dim=1)
        numbers = (numbers - self.mean) / self.std
        numbers = torch.where(numbers.isnan(), 0.0, numbers).float()
        if numbers.shape[1] == self._width:
            return numbers
        values = raw.index_select(1, self.get_buffer("_features")) == self.get_buffer("_values")
        gaps = raw.index_select(1, self.get_buffer("_gaps")).isnan()
        return torch.cat([numbers, values.float(), gaps.float()], dim=1)

    def undo(self, features: Features, weights: Tensor) -> tuple[dict[str, float], float]:
        """Convert `weights` (encoding.width,) float64 of encoded columns to raw units; return them
        by name, and the amount to add to the bias."""
        encoding = features.encoding or Encoding(width=len(features.names))
        names = {name: name for name in features.numbers} | {
            f"{name}.{part}": name for name, date in encoding.dates.items() for part in date.parts
        }
        slopes = weights[: len(names)] / self.std
        shifts = slopes * self.mean
        named = dict(zip(names, slopes.tolist(), strict=True))
        means = dict.fromkeys(features.names, 0.0)
        for name, shift in zip(names.values(), shifts.tolist(), strict=True):
            means[name] += shift
        columns = [
            f"{name}={value}" for name, values in encoding.categories.items() for value in values
        ]
        rest = weights[len(names) :].where(~self.masked()[len(names) :], 0.0).tolist()
        named |= dict(zip(columns, rest, strict=False))
        for name, weight in zip(encoding.gaps, rest[len(columns) :], strict=True):
            # A missing number, or part of a date, is encoded as the mean.
            named[f"{name} is missing"] = weight + means[name]
        return named, -shifts.sum().item()

    def masked(self) -> Tensor:
        """Return which columns of the encoded rows are masked, `(encoding.width,)`."""
        values = self.get_buffer("_values") == NEVER
        gaps = torch.zeros_like(self.get_buffer("_gaps"), dtype=torch.bool)
        return torch.cat([self.std.isinf(), values, gaps])

    def extra_repr(self) -> str:
        """Return the number of columns of each kind."""
        dates = [("_parts", "parts of dates")] if len(self.get_buffer("_parts")) else []
        kinds = (
            ("_numbers", "numbers"),
            *dates,
            ("_values", "values of categories"),
            ("_gaps", "gaps"),
        )
        return ", ".join(f"{len(self.get_buffer(b))} {name}" for b, name in kinds)


def blank(inputs: Features | Images, state: dict[str, Tensor]) -> nn.Module:
    """Return the preprocessing layer that matches `state`, the state of a whole saved model."""
    if isinstance(inputs, Features) and inputs.encoding:
        return Encode.blank(inputs)
    if "preprocessing.mean" in state:
        return Standardize.blank(state["preprocessing.mean"])
    return nn.Identity()


def _rounded(tensor: Tensor) -> str:
    numbers = [f"{number:.4g}" for number in tensor.flatten().tolist()]
    return numbers[0] if tensor.dim() == 0 else f"[{', '.join(numbers)}]"
