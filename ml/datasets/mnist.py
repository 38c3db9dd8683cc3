"""MNIST, Fashion-MNIST and KMNIST: 60,000 training and 10,000 test images of 28x28 grey pixels."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ml.datasets import mnist_files
from ml.datasets.splits import (
    BY_CHANCE,
    Categories,
    Fitted,
    RowCounts,
    Rows,
    SplitSpec,
    Table,
)
from ml.images.ink import ImageForm
from ml.preprocessing import Standardize
from ml.signature import Classes, Images, Signature
from ml.strict import Strict

# How the images of each data set were made, so that new images can be prepared the same way.
# MNIST: http://yann.lecun.com/exdb/mnist, "fit in a 20x20 pixel box ... centered by mass in 28x28";
# Fashion-MNIST: Xiao et al. 2017, section 2, the longest edge resized to 28; KMNIST: Clanuwat et
# al. 2018, whole characters scaled to 28x28.
FORMS = {
    "mnist": ImageForm(height=28, width=28, box=20, center="mass"),
    "fashion_mnist": ImageForm(height=28, width=28, box=28, center="box"),
    "kmnist": ImageForm(height=28, width=28, box=28, center="box"),
}


class VisionSpec(Strict):
    """A data set of the MNIST family, with its own test split."""

    kind: Literal["mnist", "fashion_mnist", "kmnist"]

    def signature(self) -> Signature:
        """Return the signature of a model of this data."""
        classes = list(mnist_files.FAMILIES[self.kind].classes)
        return Signature(inputs=Images(form=FORMS[self.kind]), output=Classes(names=classes))

    def row_counts(self) -> RowCounts:
        """Return the number of rows."""
        return RowCounts(60_000, has_test_split=True, builtin_split_rows=10_000)

    def load(self, root: Path, split: SplitSpec = BY_CHANCE) -> Table:
        """Read the files below `root`; missing ones are fetched first. `split` is unused.

        Raises:
            DataUnavailable: no source has the files.
        """
        raw = mnist_files.fetch(mnist_files.FAMILIES[self.kind], root)
        return Table(
            rows=Rows(raw.train_images, raw.train_labels),
            test=Rows(raw.test_images, raw.test_labels),
        )

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return the family's published normalisation; `train` is unused."""
        family = mnist_files.FAMILIES[self.kind]
        layer = Standardize(torch.tensor(family.mean), torch.tensor(family.std), unit=255.0)
        return Fitted(self.signature(), layer)

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return the inputs unchanged: images have no categories."""
        return inputs
