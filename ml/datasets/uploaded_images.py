"""Uploaded images: their signature, and how they become tensors."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ml.datasets.splits import Categories, Fitted, RowCounts, Rows, Table
from ml.images.decode import PictureForm
from ml.ingest.schema import PART_ORDER, ImageSchema, Part
from ml.ingest.stored import read_images, read_labels
from ml.ingest.warning import DataWarning
from ml.preprocessing import Standardize
from ml.signature import Classes, Images, Signature
from ml.strict import Strict

MEASURED = 10_000_000
"""Number of training pixels, evenly spread, to compute mean and standard deviation from."""
CHANNELS = {1: ["grey"], 3: ["red", "green", "blue"]}


class ImageView(Strict):
    """A job's view of uploaded images and their classes."""

    kind: Literal["images"] = "images"
    form: PictureForm
    classes: list[str]
    rows: int
    splits: dict[Part, int] | None = None
    """Number of rows of each of the file's own splits; None if it has none."""

    @classmethod
    def of(cls, schema: ImageSchema) -> "ImageView":
        """Return the view of images described by `schema`."""
        form = PictureForm(height=schema.height, width=schema.width, channels=schema.channels)
        classes = [one.name for one in schema.classes]
        return cls(form=form, classes=classes, rows=schema.rows, splits=schema.splits)

    def signature(self) -> Signature:
        """Return the signature of a model of these images."""
        return Signature(inputs=Images(form=self.form), output=Classes(names=self.classes))

    def row_counts(self) -> RowCounts:
        """Return the number of rows of each split."""
        splits = self.splits or {"train": self.rows}
        builtin = self.rows - splits["train"]
        return RowCounts(splits["train"], "test" in splits, "validation" in splits, builtin)

    def load(self, directory: Path) -> Table:
        """Map the images from `directory` and read their labels.

        Raises:
            Damaged: they are missing, or are not as they were written.
        """
        # Memory-mapped, copy on write: a reader of a few images need not wait for all.
        images = read_images(directory, (self.rows, *self.signature().inputs.shape), "c")
        labels = read_labels(directory, self.rows, len(self.classes))
        rows = Rows(torch.from_numpy(images), torch.from_numpy(labels))
        if self.splits is None:
            return Table(rows)
        # Views of the mapped file, whose rows are sorted by split.
        sizes = [self.splits.get(part, 0) for part in PART_ORDER]
        train, validation, test = rows.split(sizes)
        return Table(train, validation if len(validation) else None, test if len(test) else None)

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return the layer that scales each channel to mean 0 and standard deviation 1."""
        # Images may be sorted by class: the first ones alone would represent one class.
        stride = -(-train.inputs.numel() // MEASURED)
        pixels = train.inputs[::stride].double() / 255.0
        over = (0, 1, 2) if self.form.channels == 1 else (0, 2, 3)
        std, mean = torch.std_mean(pixels, dim=over, correction=0)
        if (constant := _constant(train.inputs[::stride], over)).any():
            # The images between may differ.
            std = torch.where(constant, 1.0, std)
            constant = constant & _constant(train.inputs, over)
            std = torch.where(constant, torch.inf, std)
        warnings = [
            _warning(channel, round(255 * value))
            for channel, value, is_constant in zip(
                CHANNELS[self.form.channels],
                mean.reshape(-1).tolist(),
                constant.reshape(-1).tolist(),
                strict=True,
            )
            if is_constant
        ]
        if self.form.channels == 3:
            mean, std = mean.reshape(3, 1, 1), std.reshape(3, 1, 1)
        return Fitted(self.signature(), Standardize(mean, std, unit=255.0), warnings)

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return the inputs unchanged: images have no categories."""
        return inputs


def _constant(images: Tensor, over: tuple[int, ...]) -> Tensor:
    """Return whether all pixels are equal, in each channel."""
    return images.amin(over) == images.amax(over)


def _warning(channel: str, value: int) -> DataWarning:
    message = (
        f"the {channel} channel is {value} in every pixel of the training images; it has no effect "
        "on predictions"
    )
    return DataWarning(column=None, kind="constant", message=message)
