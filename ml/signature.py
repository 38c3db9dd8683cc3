"""What a model is fed and what it answers: known before data is loaded, saved with the model."""

from math import prod
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field
from torch import Tensor

from ml.images.decode import PictureForm
from ml.images.ink import ImageForm
from ml.strict import Frozen

Number = TypeVar("Number", Tensor, float)


class Encoding(Frozen):
    """How rows of a table become numbers that a network learns from.

    First come the features that are numbers or true and false, then a column for each value of each
    categorical one, then a column for each feature with gaps in its training rows, which is 1 where
    there is one.
    """

    booleans: list[str] = Field(default=[])
    categories: dict[str, list[str]] = Field(default={})
    """The values of each categorical feature among the training rows; before it is fitted as many
    blanks as there may be."""
    gaps: list[str] = Field(default=[])
    """Features that had no value in some training rows."""
    width: int
    """Numbers that one row becomes; before the data is loaded, the most that may be."""


class Features(Frozen):
    """Rows of named values.

    Without an encoding all are numbers. With one, the raw number of a categorical value is its
    index among the feature's categories, or `UNKNOWN`; of true 1 and of false 0; and of none NaN.
    They are float64 then, for a table may hold numbers far from 0, such as times.
    """

    kind: Literal["features"] = "features"
    names: list[str]
    encoding: Encoding | None = None

    @property
    def numbers(self) -> list[str]:
        """The features that are no categories."""
        categorical = self.encoding.categories if self.encoding else {}
        return [name for name in self.names if name not in categorical]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (len(self.names),)

    @property
    def itemsize(self) -> int:
        """Bytes of one raw number."""
        return 8 if self.encoding else 4

    @property
    def width(self) -> int:
        """Numbers of one input that reach the network."""
        return self.encoding.width if self.encoding else len(self.names)


UNKNOWN = -1
"""Stands for a categorical value that no training row had."""


class Images(Frozen):
    """Images, one byte a pixel and channel, in the form of the training data: a light foreground on
    a dark background; or as they came."""

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
    """One real number (regression): `offset + scale * y`, where `y` is what the network answers."""

    kind: Literal["value"] = "value"
    name: str
    offset: float = 0.0
    scale: float = 1.0
    size: Literal[1] = 1

    @property
    def is_scaled(self) -> bool:
        """Whether a network's outputs are in other units than the data."""
        return (self.offset, self.scale) != (0.0, 1.0)

    def in_units(self, outputs: "Number") -> "Number":
        """Return a network's outputs, or targets scaled as they are, in the units of the data."""
        if not self.is_scaled:
            return outputs
        return self.offset + self.scale * outputs


class Classes(Frozen):
    """One of several named classes (classification)."""

    kind: Literal["classes"] = "classes"
    names: list[str]

    @property
    def size(self) -> int:
        """How many logits the model answers with."""
        return len(self.names)


class Signature(Frozen):
    """A model's inputs and output."""

    inputs: Annotated[Features | Images, Field(discriminator="kind")]
    output: Annotated[Value | Classes, Field(discriminator="kind")]

    @property
    def input_size(self) -> int:
        """Numbers in one raw input, flattened."""
        return prod(self.inputs.shape)
