"""Predictions."""

from typing import Any

from pydantic import Field

from epochd.schemas.base import ModelRef, Schema


class Prediction(Schema):
    """Prediction for a row: of a regression, the `value`, or the `values` of several targets by
    name; of a classifier, the class."""

    value: float | None = None
    values: dict[str, float] | None = None
    class_: int | None = Field(default=None, alias="class")
    """Index of the most probable class."""
    label: str | None = None
    """Name of the most probable class."""
    probabilities: list[float] | None = None
    seen: str | None = None
    """Image that the model saw, as a PNG file in base64, with `explain`."""
    unknown: dict[str, Any] | None = None
    """Values of the row, by feature, that are no category of the model."""


class PredictResponse(Schema):
    """Predictions of one request."""

    model: str
    version: int
    predictions: list[Prediction]


class Predictions(list[Prediction]):
    """One prediction for each row, in order, and the model that made them."""

    def __init__(self, model: ModelRef, predictions: list[Prediction]) -> None:
        super().__init__(predictions)
        self.model = model
