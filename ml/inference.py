"""A trained model answering: raw inputs in, predictions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import TypedDict

from ml.artifacts import Manifest, load_manifest, load_model
from ml.errors import Invalid
from ml.evaluation import outputs
from ml.images import ImageForm, decode
from ml.inputs import PixelRange, feature_rows, pixel_rows
from ml.signature import Classes, Features

Inputs = NDArray[np.float32] | NDArray[np.uint8]


class ValuePrediction(TypedDict):
    """The answer of a regression, in the units of the target."""

    value: float


ClassPrediction = TypedDict(
    "ClassPrediction", {"class": int, "label": str, "probabilities": list[float]}
)
"""The answer of a classification: the likeliest class's index and name, and every class's share."""

Prediction = ValuePrediction | ClassPrediction


@dataclass(frozen=True)
class Model:
    """A loaded model. Safe to use from several threads: nothing in it changes."""

    manifest: Manifest
    network: nn.Module

    @classmethod
    def load(cls, directory: Path) -> "Model":
        """Load the artifact in `directory` onto the CPU."""
        manifest = load_manifest(directory)
        return cls(manifest, load_model(directory, manifest))

    def rows(self, rows: Sequence[object], pixels: PixelRange | None = None) -> Inputs:
        """Return raw `rows`, as JSON has them, as the array that `predict` takes.

        Raises:
            Invalid: see `ml.inputs`; `loc` is within `rows`.
        """
        inputs = self.manifest.signature.inputs
        if isinstance(inputs, Features):
            return feature_rows(inputs, rows)
        return pixel_rows(inputs, rows, pixels)

    def images(self, files: Sequence[bytes], max_pixels: int) -> Inputs:
        """Return PNG or JPEG `files`, each brought into the form of the training images, as the
        array that `predict` takes.

        Raises:
            Invalid: the model takes no images, or a file is none; `loc` is within `files`.
        """
        inputs = self.manifest.signature.inputs
        if isinstance(inputs, Features):
            raise Invalid(f"this model takes the features {', '.join(inputs.names)}, not images")
        if not files:
            raise Invalid("is empty; give at least one image")
        return np.stack([_image(file, inputs.form, max_pixels, i) for i, file in enumerate(files)])

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """Return one prediction per row of `inputs` `(rows, *shape)`.

        Raises:
            Invalid: the model's answer to a row is not finite; `loc` is the row.
        """
        answers = outputs(self.network, torch.from_numpy(inputs))
        finite = torch.isfinite(answers).all(dim=1)
        if not finite.all():
            raise Invalid(
                "is too far from what the model was trained on: its answer is not finite",
                (int((~finite).nonzero()[0]),),
            )
        output = self.manifest.signature.output
        if not isinstance(output, Classes):
            return [{"value": value} for value in answers.squeeze(1).tolist()]
        probabilities = answers.softmax(dim=1)
        likeliest = probabilities.argmax(dim=1).tolist()
        return [
            {"class": index, "label": output.names[index], "probabilities": shares}
            for index, shares in zip(likeliest, probabilities.tolist(), strict=True)
        ]


def _image(file: bytes, form: ImageForm, max_pixels: int, index: int) -> NDArray[np.uint8]:
    try:
        return form.apply(decode(file, max_pixels=max_pixels))
    except Invalid as error:
        raise error.at(index) from None
