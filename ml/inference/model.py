"""Inference: from raw inputs to predictions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import TypedDict

from ml.artifacts import Manifest, load_manifest, load_model
from ml.decoding import decoding
from ml.errors import Invalid, located_at
from ml.evaluation.metrics import in_batches
from ml.images.decode import PictureForm
from ml.images.ink import ImageForm
from ml.inference.forward import Forward, plain
from ml.inputs.rows import FLOAT32_MAX, Array, PixelRange, feature_rows, in_pixel_range, pixel_rows
from ml.inputs.table_rows import NOWHERE, Places, Scalar, TableReader
from ml.signature import Features, Output

Inputs = Array
PART_NUMBERS = 50_000
"""Numbers that become lists at a time."""
Numbers = NDArray[np.float32] | NDArray[np.float64]


class ValuePrediction(TypedDict):
    """Prediction of a regression, in the target's units."""

    value: float
    seen: NotRequired[str]
    unknown: NotRequired[dict[str, Scalar]]


class ValuesPrediction(TypedDict):
    """Prediction of a regression of several targets, by their names, each in its own units."""

    values: dict[str, float]
    seen: NotRequired[str]
    unknown: NotRequired[dict[str, Scalar]]


ClassPrediction = TypedDict(
    "ClassPrediction",
    {
        "class": int,
        "label": str,
        "probabilities": list[float],
        "seen": NotRequired[str],
        "unknown": NotRequired[dict[str, Scalar]],
    },
)
"""Prediction of a classifier: index and name of the most probable class, and all probabilities.

`seen` is the image that the model saw, as a PNG file in base64, if the request asked for it.
`unknown` are the values of the row, by feature, that are no category of the model, if it has any.
"""

Prediction = ValuePrediction | ValuesPrediction | ClassPrediction


@dataclass(slots=True)
class Predictions:
    """Predictions for a batch of rows: the values, or the probability of each class."""

    values: Numbers
    """Array `(rows, size)`; float64 if converted from the network's units, else float32."""
    lists: list[list[float]]
    """The values as lists, for JSON; converted once for all requests of a batch."""
    argmax: list[int]
    """Index of the greatest value of each row."""

    @classmethod
    def from_values(cls, values: Numbers) -> "Predictions":
        """Wrap `values` (rows, size)."""
        if values.size <= PART_NUMBERS:
            return cls(values, values.tolist(), values.argmax(1).tolist())
        # A part at a time, since the interpreter's lock is held meanwhile.
        rows = max(1, PART_NUMBERS // values.shape[1])
        parts = (values[start : start + rows].tolist() for start in range(0, len(values), rows))
        return cls(values, list(chain.from_iterable(parts)), values.argmax(1).tolist())

    def __len__(self) -> int:
        return len(self.lists)

    def __getitem__(self, rows: slice) -> "Predictions":
        """Return the predictions for a slice of the rows."""
        return Predictions(self.values[rows], self.lists[rows], self.argmax[rows])

    def are_finite(self) -> bool:
        """Return whether all values are finite."""
        return bool(np.isfinite(self.values).all())

    def check(self) -> None:
        """Check that all values are finite.

        Raises:
            Invalid: the prediction for a row is not finite; `loc` is the row.
        """
        finite = np.isfinite(self.values).all(axis=1)
        if not finite.all():
            raise Invalid(
                "is too far from the training data: the prediction is not finite",
                (int(np.argmin(finite)),),
            )


@dataclass(frozen=True)
class Model:
    """A loaded model. It is immutable, and therefore thread-safe."""

    manifest: Manifest
    network: nn.Module

    @classmethod
    def load(cls, directory: Path) -> "Model":
        """Load the artifact in `directory` onto the CPU.

        Raises:
            Damaged: a file is missing, or is not as it was written.
        """
        manifest = load_manifest(directory)
        return cls(manifest, load_model(directory, manifest))

    def rows(self, rows: Sequence[object], pixels: PixelRange | None = None) -> Inputs:
        """Convert raw `rows` from JSON to the input array of `predict`.

        Raises:
            Invalid: see `ml.inputs.rows`; `loc` is within `rows`.
        """
        inputs = self.manifest.signature.inputs
        if self._table is not None:
            return self._table.rows(rows)
        if inputs.kind == "features":
            return feature_rows(inputs, rows)
        return pixel_rows(inputs, rows, pixels)

    @property
    def takes_texts(self) -> bool:
        """Whether rows may have texts: those of an uploaded table."""
        return self._table is not None

    def unknown(self, inputs: Inputs) -> Places:
        """Return where `inputs` have values that are no category of the model, row by row."""
        return NOWHERE if self._table is None else self._table.unknown(inputs)

    def values(self, row: object, features: Iterable[int]) -> dict[str, Scalar]:
        """Return values of a raw row by the names of their `features`."""
        return {} if self._table is None else self._table.values(row, features)

    @cached_property
    def texts(self) -> Features | None:
        """The model's features if any of them is a text in requests, a category or a date, else
        None."""
        inputs = self.manifest.signature.inputs
        if inputs.kind == "features" and inputs.texts:
            return inputs
        return None

    @cached_property
    def _table(self) -> TableReader | None:
        inputs = self.manifest.signature.inputs
        return TableReader(inputs) if inputs.kind == "features" and inputs.encoding else None

    def images(self, files: Sequence[bytes], max_pixels: int) -> Inputs:
        """Convert image `files`, at least one, to the form of the training images, as the
        input array of `predict`.

        Raises:
            Invalid: the model does not take images, or a file is not an image; `loc` is within
                `files`.
        """
        form = self.image_form()
        return np.stack([_image(file, form, max_pixels, i) for i, file in enumerate(files)])

    def image_form(self) -> ImageForm | PictureForm:
        """Return the form of the training images.

        Raises:
            Invalid: the model does not take images.
        """
        inputs = self.manifest.signature.inputs
        if inputs.kind == "features":
            raise Invalid(f"this model takes the features {', '.join(inputs.names)}, not images")
        return inputs.form

    def array(self, array: NDArray[Any], pixels: PixelRange | None = None) -> Inputs:
        """Convert an array of rows, images flattened or not, to the input array of `predict`.

        Raises:
            Invalid: its shape or dtype does not fit the model, or values are out of range.
        """
        inputs, shape = self.manifest.signature.inputs, self._shape
        encoding = inputs.encoding if inputs.kind == "features" else None
        if encoding and (encoding.categories or encoding.dates):
            kinds = {"categories": [*encoding.categories], "dates": [*encoding.dates]}
            kind, names = next((kind, names) for kind, names in kinds.items() if names)
            raise Invalid(
                f"holds numbers only, but this model takes {kind} ({', '.join(names[:20])}); "
                "send rows as JSON"
            )
        if array.dtype.kind not in "buif":
            raise Invalid(f"has dtype {array.dtype}; must be numeric or boolean")
        if array.shape[1:] not in (shape, (self.row_size,)) or not len(array):
            wanted = "x".join(map(str, ("rows", *shape)))
            given = "x".join(map(str, array.shape)) or "a single number"
            raise Invalid(f"has the shape {given}; must be {wanted}, with at least one row")
        rows = array.reshape(-1, *shape)
        if rows.dtype != np.uint8:
            with np.errstate(over="ignore", invalid="ignore"):
                is_double = inputs.kind == "features" and inputs.is_double
                rows = np.ascontiguousarray(rows, np.float64 if is_double else np.float32)
            # In rows of a table, NaN denotes a missing value.
            usable = np.abs(rows) <= FLOAT32_MAX
            if encoding:
                usable |= np.isnan(rows)
            if not usable.all():
                bad = ~usable.reshape(len(rows), -1).all(1)
                raise Invalid("has a number that is not finite", (int(np.argmax(bad)),))
        if inputs.kind == "features":
            numbers = rows if rows.dtype.kind == "f" else rows.astype(np.float32)
            return numbers if self._table is None else self._table.array(numbers)
        return in_pixel_range(rows, pixels)

    @torch.inference_mode()
    def predict(self, inputs: Inputs) -> Predictions:
        """Return the predictions for `inputs` `(rows, *shape)`."""
        values, output = in_batches(self._forward, torch.from_numpy(inputs)), self._output
        if output.kind == "classes":
            values = values.softmax(dim=1)
        elif output.is_scaled:
            values = output.in_units(values.double())
        return Predictions.from_values(values.numpy())

    def to_json(self, predictions: Predictions) -> list[Prediction]:
        """Return the predictions as JSON objects."""
        output = self._output
        if output.kind == "value":
            return [{"value": value} for [value] in predictions.lists]
        if output.kind == "values":
            targets = [target.name for target in output.targets]
            rows = (zip(targets, values, strict=True) for values in predictions.lists)
            return [{"values": dict(row)} for row in rows]
        names = output.names
        return [
            {"class": index, "label": names[index], "probabilities": shares}
            for index, shares in zip(predictions.argmax, predictions.lists, strict=True)
        ]

    @cached_property
    def row_size(self) -> int:
        """Number of values in one row, flattened."""
        return prod(self._shape)

    @cached_property
    def _forward(self) -> Forward:
        return plain(self.network)

    # Every request reads these several times.
    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return self.manifest.signature.inputs.shape

    @cached_property
    def _output(self) -> Output:
        return self.manifest.signature.output

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(tensor.nbytes for tensor in self.network.state_dict().values())


def _image(
    file: bytes, form: ImageForm | PictureForm, max_pixels: int, index: int
) -> NDArray[np.uint8]:
    with located_at(index), decoding("the image"):
        return form.decode(form.header(file, max_pixels=max_pixels))
