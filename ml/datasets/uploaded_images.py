"""Uploaded images: what a model learns from them, and how they become tensors."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ml.datasets.splits import Categories, Fitted, RowCounts, Rows, Table
from ml.images.decode import PictureForm
from ml.ingest.schema import IMAGES, LABELS, ImageSchema
from ml.preprocessing import Standardize
from ml.signature import Classes, Images, Signature
from ml.strict import Strict

MEASURED = 10_000_000
"""Pixels of training images, evenly spread, that mean and deviation are taken from."""


class ImageView(Strict):
    """What a job makes of images in classes."""

    kind: Literal["images"] = "images"
    form: PictureForm
    classes: list[str]
    rows: int

    @classmethod
    def of(cls, schema: ImageSchema) -> "ImageView":
        """Return what a job makes of images so described."""
        form = PictureForm(height=schema.height, width=schema.width, channels=schema.channels)
        classes = [one.name for one in schema.classes]
        return cls(form=form, classes=classes, rows=schema.rows)

    def signature(self) -> Signature:
        """Return what a model takes and answers."""
        return Signature(inputs=Images(form=self.form), output=Classes(names=self.classes))

    def row_counts(self) -> RowCounts:
        """Return how many rows there are."""
        return RowCounts(self.rows, has_test_split=False)

    def load(self, directory: Path) -> Table:
        """Read the images."""
        # Mapped, so that whoever wants a few need not wait for all; what would be written to it
        # stayed in memory.
        images = torch.from_numpy(np.load(directory / IMAGES, mmap_mode="c"))
        return Table(Rows(images, torch.from_numpy(np.load(directory / LABELS))))

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return the layer that gives the pixels of each channel mean 0 and standard deviation
        1."""
        # Images may come class by class, so that the first would tell of one class alone.
        stride = -(-train.inputs.numel() // MEASURED)
        pixels = train.inputs[::stride].double() / 255.0
        over = (0, 1, 2) if self.form.channels == 1 else (0, 2, 3)
        std, mean = torch.std_mean(pixels, dim=over, correction=0)
        if self.form.channels == 3:
            mean, std = mean.reshape(3, 1, 1), std.reshape(3, 1, 1)
        std = torch.where(std > 0, std, torch.ones_like(std))
        return Fitted(self.signature(), Standardize(mean, std, unit=255.0))

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return the inputs, which have no codes."""
        return inputs
