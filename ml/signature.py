"""What a model is fed and what it answers: known before data is loaded, saved with the model."""

from math import prod
from typing import Annotated, Literal

from pydantic import Field

from ml.images import ImageForm
from ml.strict import Frozen


class Features(Frozen):
    """Rows of named numbers."""

    kind: Literal["features"] = "features"
    names: list[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (len(self.names),)


class Images(Frozen):
    """Grey images, one byte a pixel, light ink on dark ground, in the form of the training data."""

    kind: Literal["images"] = "images"
    form: ImageForm

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (self.form.height, self.form.width)


class Value(Frozen):
    """One real number (regression)."""

    kind: Literal["value"] = "value"
    name: str
    size: Literal[1] = 1


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
        """Numbers in one input, flattened."""
        return prod(self.inputs.shape)
