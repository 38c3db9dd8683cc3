"""Labels of an NPZ file: a class for each row, in any of the usual forms."""

from collections.abc import Iterator, Mapping
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.ingest.arrow_columns import plain
from ml.ingest.npz.arrays import Member, arrow, batches
from ml.ingest.options import Options
from ml.ingest.schema import MAX_CATEGORIES, Part
from ml.ingest.table_writer import typed
from ml.ingest.typed_table import FIRST_ROW
from ml.spelling import Spelling

ONE_HOT = "one-hot; its classes are the numbers of its columns, from 0"


def class_of(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return the classes of one-hot rows."""
    classes: NDArray[np.int64] = np.argmax(rows == 1, 1)
    return classes


def is_one_hot(archive: ZipFile, member: Member) -> bool:
    """Return whether every row of a matrix is 1 in one column and 0 in all others."""
    if len(member.shape) != 2 or member.shape[1] < 2 or member.dtype.kind not in "biuf":
        return False
    return all(bool(_hot(rows).all()) for rows in batches(archive, member, member.batch_rows))


def _hot(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows are one-hot."""
    is_one = rows == 1
    is_hot: NDArray[np.bool_] = (is_one.sum(1) == 1) & (is_one | (rows == 0)).all(1)
    return is_hot


def columns(member: Member) -> int | None:
    """Return the number of columns of labels that are one-hot, None for labels `(n,)`, `(n, 1)`.

    Raises:
        Invalid: the array has another shape.
    """
    match member.shape[1:]:
        case () | (1,):
            return None
        case (int(count),) if 2 <= count <= MAX_CATEGORIES:
            return count
    raise Invalid(
        f"the labels {member.name!r} have the shape {member.shape}; it must be (rows,), (rows, 1) "
        f"or, one-hot, (rows, classes) of 2 to {MAX_CATEGORIES:,} classes"
    )


class Labels:
    """The class of each row, by split."""

    def __init__(self, archive: ZipFile, members: Mapping[Part, Member], options: Options) -> None:
        """Read the labels of all splits.

        Raises:
            Invalid: a row has no label, or several, or one that is no class.
        """
        self._codes: dict[str, int] = {}
        self.is_one_hot = any(columns(member) is not None for member in members.values())
        self._by_part = {
            part: np.concatenate([*self._read(archive, member, options)])
            for part, member in members.items()
        }

    def names(self) -> list[str]:
        """Return the classes in order: numbers by size, then texts."""
        return sorted(self._codes, key=_by_number)

    def of(self, part: Part) -> Iterator[str]:
        """Yield the class of each row of a split."""
        names = [*self._codes]
        return (names[code] for code in self._by_part[part])

    def _read(
        self, archive: ZipFile, member: Member, options: Options
    ) -> Iterator[NDArray[np.int32]]:
        row, hot = FIRST_ROW, columns(member)
        for batch in batches(archive, member, member.batch_rows):
            if hot is not None:
                batch = _decoded(batch, member, row)
            texts = _texts(batch.reshape(len(batch)), member, row, options)
            row += len(batch)
            encoded = texts.dictionary_encode()
            codes = [self._code(name) for name in encoded.dictionary.to_pylist()]
            yield np.array(codes, np.int32)[encoded.indices.to_numpy()]

    def _code(self, name: str) -> int:
        code = self._codes.setdefault(name, len(self._codes))
        if code >= MAX_CATEGORIES:
            raise Invalid(f"has over {MAX_CATEGORIES:,} classes, the maximum")
        return code


def _decoded(batch: NDArray[Any], member: Member, first_row: int) -> NDArray[np.int64]:
    """Return the classes of one-hot rows."""
    if member.dtype.kind not in "biuf":
        raise Invalid(f"the labels {member.name!r} have several texts in a row; one is needed")
    is_hot = _hot(batch)
    if not is_hot.all():
        index = int(np.argmin(is_hot))
        raise Invalid(
            f"row {first_row + index}, array {member.name!r}: the labels are not one-hot: "
            f"{int((batch[index] != 0).sum())} of {batch.shape[1]} are set; a row has one class"
        )
    return class_of(batch)


def _texts(values: NDArray[Any], member: Member, first_row: int, options: Options) -> Any:
    """Return labels as texts.

    Raises:
        Invalid: one is missing, or a fraction.
    """
    gaps = options.gaps()
    labels = plain(arrow(values), gaps)
    if pa.types.is_floating(labels.type):
        labels = gaps.without(pc.cast(labels, pa.float64()))
        is_fraction = pc.not_equal(labels, pc.floor(labels))
        index = pc.index(pc.and_(is_fraction, pc.is_finite(labels)), True).as_py()
        if index >= 0:
            raise Invalid(
                f"row {first_row + index}, array {member.name!r}: {labels[index].as_py():g} is not "
                "a class; labels of images are whole numbers or strings"
            )
    texts = typed(labels, Spelling(kind="categorical"), gaps, member.name, first_row)
    if texts.null_count:
        row = first_row + pc.index(pc.is_null(texts), True).as_py()
        raise Invalid(f"row {row}, array {member.name!r}: the image has no label")
    return texts


def _by_number(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label
