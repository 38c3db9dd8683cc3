"""Values of a request that are no category of its model, beside their predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml.inference.model import Inputs, Model, Prediction


@dataclass(frozen=True)
class UnknownValues:
    """The unknown values of a request. They are looked up in its rows when the response is
    written."""

    model: Model
    inputs: Inputs
    row: Callable[[int], object]
    """Function that returns a row of the request."""

    def add_to(self, predictions: Sequence[Prediction], start: int = 0) -> None:
        """Add to the predictions for the rows from `start` on the values that are unknown."""
        for index, prediction in enumerate(predictions, start):
            inputs = self.inputs[index : index + 1]
            if self.model.count_unknown(inputs):
                prediction["unknown"] = self.model.unknown(self.row(index), inputs[0])


def unknown_values(
    model: Model, inputs: Inputs, row: Callable[[int], object]
) -> UnknownValues | None:
    """Return the unknown values of a request, None if there are none."""
    return UnknownValues(model, inputs, row) if model.count_unknown(inputs) else None
