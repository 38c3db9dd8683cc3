"""Rows to predict on, and predictions, as JSON."""

from typing import Any

from pydantic import Field, model_validator

from ml.inference.model import Prediction
from ml.inputs.rows import PixelRange
from ml.strict import Strict
from service.schemas import Body


class PredictRequest(Strict):
    """Rows or images for a model. Give exactly one of `inputs` and `images`."""

    model: str = Field(
        description="`name@3`, `name@alias`, or `name`: its alias `default` if it has one, else "
        "its newest version."
    )
    inputs: list[Any] | None = Field(
        default=None,
        description="Rows: lists of numbers in the order of the features or objects by feature "
        "name; for images 28 lists of 28 pixels or 784 pixels, a light foreground on a "
        "dark background.",
    )
    images: list[str] | None = Field(
        default=None, description="PNG or JPEG files of any size, base64."
    )
    pixels: PixelRange | None = Field(
        default=None,
        description="The range of pixels in `inputs`. By default 0-255; needed only where every "
        "pixel of an image is 1 or less.",
    )

    @model_validator(mode="after")
    def _rows_or_images(self) -> "PredictRequest":
        if (self.inputs is None) == (self.images is None):
            raise ValueError("give exactly one of inputs and images")
        return self


class PredictResponse(Body):
    """One prediction per row, in order."""

    model: str
    version: int
    predictions: list[Prediction]
