"""Request and response bodies of `/predict`."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from ml.inference.model import Prediction
from ml.inputs.rows import PixelRange
from ml.strict import FIRST_ERROR, Strict
from service.schemas import Body


class PredictRequest(Strict):
    """Rows or images to predict on. Give exactly one of `inputs` and `images`."""

    model: str = Field(
        description="Model reference: `name@3`, `name@alias`, or `name` for the alias `default` if "
        "set, else the newest version."
    )
    inputs: list[Any] | None = Field(
        default=None,
        description="Rows, each a list of values in the order of the features or an object keyed "
        "by feature name: numbers, or for uploaded tables also booleans, texts as in the file, and "
        "null for missing values; for images, 28 lists of 28 pixels or a list of 784 pixels, with "
        "a light foreground on a dark background.",
    )
    images: Annotated[list[str], FIRST_ERROR] | None = Field(
        default=None, description="PNG or JPEG files of any size, base64-encoded."
    )
    pixels: PixelRange | None = Field(
        default=None,
        description="Pixel range of `inputs`, by default 0-255. Required if every pixel of an "
        "image is 1 or less.",
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
