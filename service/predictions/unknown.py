"""Values of a request that are no category of its model, beside their predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from ml.inference.model import Model, Prediction
from ml.inputs.table_rows import Places


@dataclass(frozen=True)
class UnknownValues:
    """The unknown values of a request. They are looked up in its rows when the response is
    written."""

    model: Model
    places: Places
    row: Callable[[int], object]
    """Function that returns a row of the request."""

    def add_to(self, predictions: Sequence[Prediction], start: int = 0) -> None:
        """Add to the predictions for the rows from `start` on the values that are unknown."""
        first, last = np.searchsorted(self.places[:, 0], [start, start + len(predictions)])
        for row, places in groupby(self.places[first:last].tolist(), key=itemgetter(0)):
            features = [feature for _, feature in places]
            predictions[row - start]["unknown"] = self.model.values(self.row(row), features)
