"""Writer of images of one size, one at a time."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.images.decode import Picture, PictureForm
from ml.images.header import ImageHeader
from ml.ingest.names import check_name
from ml.ingest.schema import (
    IMAGES,
    LABELS,
    MAX_CATEGORIES,
    MAX_VALUES,
    PART_ORDER,
    ImageClass,
    ImageSchema,
    Part,
)
from ml.ingest.warning import DataWarning, listed

Channels = Literal[1, 3]


class ImageWriter:
    """Converts images to one form, and writes them with their classes.

    Raises:
        Invalid: there are too many images, or too few or too many classes.
    """

    def __init__(
        self, into: Path, rows: int, size: list[int], channels: Channels, classes: list[str]
    ) -> None:
        if rows * size[0] * size[1] > MAX_VALUES:
            raise Invalid(
                f"{rows:,} images of {size[0]}x{size[1]} have over {MAX_VALUES:,} pixels, the "
                "maximum; set a smaller image_size"
            )
        if len(classes) < 2:
            raise Invalid(f"has images of one class, {classes[0]!r}; at least 2 are needed")
        if len(classes) > MAX_CATEGORIES:
            raise Invalid(f"has {len(classes):,} classes; at most {MAX_CATEGORIES:,} are allowed")
        for name in classes:
            check_name(name, "the name of a class")
        self.form = PictureForm(height=size[0], width=size[1], channels=channels)
        self._codes = {name: code for code, name in enumerate(classes)}
        self._labels: list[int] = []
        self._splits: dict[Part, int] = {}
        self._path = into / LABELS
        shape = (rows, *size) if channels == 1 else (rows, channels, *size)
        self._images: NDArray[Any] = np.lib.format.open_memmap(into / IMAGES, "w+", np.uint8, shape)
        # A full disk fails here; writing into the map would kill the process.
        with (into / IMAGES).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)

    def add(self, picture: Picture | ImageHeader, label: str, part: Part = "train") -> None:
        """Write one image, decoded or not, and its class. The images of each part follow one
        another, and the parts are in the order of `PART_ORDER`.

        Raises:
            Invalid: the image cannot be decoded.
        """
        if any(PART_ORDER.index(written) > PART_ORDER.index(part) for written in self._splits):
            raise ValueError(f"{part} images come before {[*self._splits][-1]} images")
        if isinstance(picture, ImageHeader):
            pixels = self.form.decode(picture)
        else:
            pixels = self.form.apply(picture)
        self._images[len(self._labels)] = pixels
        self._labels.append(self._codes[label])
        self._splits[part] = self._splits.get(part, 0) + 1

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, *_: object) -> None:
        del self._images

    def schema(self) -> ImageSchema:
        """Write the labels, and return the schema of the images.

        Raises:
            Invalid: the training images are none, or of one class.
        """
        labels = np.array(self._labels, np.int64)
        np.save(self._path, labels)
        counts = np.bincount(labels, minlength=len(self._codes)).tolist()
        return ImageSchema(
            rows=len(self._labels),
            height=self.form.height,
            width=self.form.width,
            channels=self.form.channels,
            classes=[
                ImageClass(name=name, count=count)
                for name, count in zip(self._codes, counts, strict=True)
            ],
            splits=self._splits if len(self._splits) > 1 else None,
            warnings=self._unseen(labels[: self._splits.get("train", 0)]),
        )

    def _unseen(self, train: NDArray[np.int64]) -> list[DataWarning]:
        """Return a warning if some classes have no training images."""
        if not len(train):
            raise Invalid("has no training images; put some into the split train")
        seen = set(train.tolist())
        if len(seen) < 2:
            raise Invalid("has training images of one class; at least 2 are needed")
        unseen = [name for name, code in self._codes.items() if code not in seen]
        if not unseen:
            return []
        message = f"there is no training image of {listed(unseen)}; no model learns to predict it"
        return [DataWarning(column=None, kind="unseen_class", message=message)]
