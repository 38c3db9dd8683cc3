"""Inputs and output of a model, known before data is loaded and saved with the model."""

from functools import cached_property
from math import prod
from typing import Annotated, ClassVar, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

from ml.images.decode import PictureForm
from ml.images.ink import ImageForm
from ml.spelling import EARLIER_MISSING, Spelling
from ml.strict import Frozen

DatePart = Literal[
    "days",
    "year",
    "month_sin",
    "month_cos",
    "weekday_sin",
    "weekday_cos",
    "time_sin",
    "time_cos",
]
"""A number that a date is encoded as: the days since the first training date, with fractions; the
year; or a coordinate on a circle of 12 months, 7 weekdays or 24 hours, in UTC."""
DATE_PARTS: tuple[DatePart, ...] = get_args(DatePart)


class DateEncoding(Frozen):
    """Encoding of a feature of dates."""

    first: str
    """Day of the first training date, in ISO 8601; before fitting, empty."""
    parts: list[DatePart]
    """Numbers that the date becomes, each standardised: `days`, and those that vary in the training
    rows; before fitting, all that may vary."""


class Encoding(Frozen):
    """Layout of the encoded rows of a table.

    Numeric and boolean features come first, then the parts of each date, then one column for each
    value of each categorical feature, then one column for each feature with gaps in its training
    rows, which is 1 at a gap.
    """

    booleans: list[str] = Field(default=[])
    categories: dict[str, list[str]] = Field(default={})
    """Values of each categorical feature in the training rows; before fitting, as many blanks as
    there may be values."""
    dates: dict[str, DateEncoding] = Field(default={})
    """Encodings of the features of dates."""
    gaps: list[str] = Field(default=[])
    """Features with missing values in the training rows, and others; in models of earlier versions,
    also those with missing values only."""
    masked: list[str] = Field(default=[])
    """Features with a single value, or none, in the training rows: their values have no effect."""
    missing: list[str] = Field(default=list(EARLIER_MISSING))
    """Texts that mark a missing value."""
    spellings: dict[str, Spelling] = Field(default={})
    """How values are written, for features that are not written plainly: numbers with other marks
    or units, dates, and numbers and dates that are used as categories."""
    width: int
    """Columns of an encoded row; before the data is loaded, an upper bound."""

    def spelling(self, name: str) -> Spelling:
        """Return how the values of a feature are written."""
        if name in self.spellings:
            return self.spellings[name]
        if name in self.booleans:
            return Spelling(kind="boolean")
        return Spelling(kind="categorical" if name in self.categories else "numeric")


class Features(Frozen):
    """Rows of named values.

    Without an encoding all values are numbers, and raw rows are float32, or float64 if they are
    standardised, since numbers may be far from 0. With one, raw rows are float64 for the same
    reason (timestamps): a category is its index among the feature's
    categories or `UNKNOWN`, true is 1, false is 0, a date is the number of days since 1970-01-01
    in UTC, with fractions, and a missing value is NaN.
    """

    kind: Literal["features"] = "features"
    names: list[str]
    encoding: Encoding | None = None
    double: bool = False
    """Whether raw rows are float64 although there is no encoding."""

    @property
    def is_double(self) -> bool:
        """Whether raw rows are float64."""
        return self.double or self.encoding is not None

    @property
    def numbers(self) -> list[str]:
        """Features that are neither categorical nor dates."""
        others = {*self.encoding.categories, *self.encoding.dates} if self.encoding else set()
        return [name for name in self.names if name not in others]

    @property
    def texts(self) -> list[str]:
        """Features that are texts in requests: categories and dates."""
        return [*self.encoding.categories, *self.encoding.dates] if self.encoding else []

    @property
    def standardised(self) -> int:
        """Columns of an encoded row that are standardised: numbers and parts of dates."""
        dates = self.encoding.dates.values() if self.encoding else ()
        return len(self.numbers) + sum(len(date.parts) for date in dates)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (len(self.names),)

    @property
    def itemsize(self) -> int:
        """Bytes per raw value."""
        return 8 if self.is_double else 4

    @property
    def width(self) -> int:
        """Numbers of one input that reach the network."""
        return self.encoding.width if self.encoding else len(self.names)

    @property
    def is_exact(self) -> bool:
        """Whether `width` is exact before the data is loaded: each feature is a number that is
        never missing."""
        return self.width == len(self.names) == len(self.numbers)


class Images(Frozen):
    """8-bit images in the form of the training data: a light foreground on a dark background, or
    unchanged."""

    kind: Literal["images"] = "images"
    form: ImageForm | PictureForm
    itemsize: ClassVar = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        size = (self.form.height, self.form.width)
        return (
            (3, *size) if isinstance(self.form, PictureForm) and self.form.channels == 3 else size
        )

    @property
    def width(self) -> int:
        """Numbers of one input that reach the network."""
        return prod(self.shape)


class Value(Frozen):
    """One real number (regression): `offset + scale * y`, where `y` is the network's output."""

    kind: Literal["value"] = "value"
    name: str
    offset: float = 0.0
    scale: float = 1.0
    size: Literal[1] = 1

    @property
    def targets(self) -> "list[Value]":
        """The one value."""
        return [self]

    @property
    def is_scaled(self) -> bool:
        """Whether the network's outputs and the data have different units."""
        return (self.offset, self.scale) != (0.0, 1.0)

    def in_units(self, outputs: Tensor) -> Tensor:
        """Convert a network's outputs, or targets on their scale, `(rows, 1)` to the units of the
        data."""
        if not self.is_scaled:
            return outputs
        return self.offset + self.scale * outputs

    def on_scale(self, values: Tensor) -> Tensor:
        """Convert values `(rows, 1)` in the units of the data to the scale of the network."""
        return (values - self.offset) / self.scale


class Values(Frozen):
    """Several real numbers (regression): each of the network's outputs is one, in its own units."""

    kind: Literal["values"] = "values"
    targets: list[Value] = Field(min_length=2)

    @property
    def size(self) -> int:
        """Number of outputs of the model."""
        return len(self.targets)

    @property
    def is_scaled(self) -> bool:
        """Whether the network's outputs and the data have different units."""
        return any(target.is_scaled for target in self.targets)

    def in_units(self, outputs: Tensor) -> Tensor:
        """Convert a network's outputs, or targets on their scale, `(rows, size)` to the units of
        the data, float64."""
        offsets, scales = (numbers.to(outputs.device) for numbers in self._units)
        return offsets + scales * outputs

    def on_scale(self, values: Tensor) -> Tensor:
        """Convert values `(rows, size)` in the units of the data to the scale of the network,
        float64."""
        offsets, scales = (numbers.to(values.device) for numbers in self._units)
        return (values - offsets) / scales

    @cached_property
    def _units(self) -> tuple[Tensor, Tensor]:
        """Offset and scale of each value, `(size,)` float64."""
        offsets, scales = zip(*((one.offset, one.scale) for one in self.targets), strict=True)
        return torch.tensor(offsets, dtype=torch.float64), torch.tensor(scales, dtype=torch.float64)


def regression(targets: list[Value]) -> Value | Values:
    """Return the output that consists of these values."""
    return targets[0] if len(targets) == 1 else Values(targets=targets)


class Classes(Frozen):
    """One of several named classes (classification)."""

    kind: Literal["classes"] = "classes"
    names: list[str]

    @property
    def size(self) -> int:
        """Number of logits of the model."""
        return len(self.names)


Output = Value | Values | Classes


class Signature(Frozen):
    """A model's inputs and output."""

    inputs: Annotated[Features | Images, Field(discriminator="kind")]
    output: Annotated[Output, Field(discriminator="kind")]

    @property
    def input_size(self) -> int:
        """Numbers in one raw input, flattened."""
        return prod(self.inputs.shape)
