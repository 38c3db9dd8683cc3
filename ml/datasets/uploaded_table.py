"""Uploaded tables: the columns a model learns from, and how they become tensors."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import Field
from torch import Tensor

from ml.datasets import masked, skewness, split_by, split_keys, table_columns
from ml.datasets.column_types import FeatureKind, Task, spelling_of, width_of
from ml.datasets.date_features import all_parts, fit_dates
from ml.datasets.splits import Categories, Fitted, RowCounts, Rows, SplitSpec, Table
from ml.datasets.targets import fit_units, names_of
from ml.errors import Damaged, Invalid, located_at
from ml.ingest.schema import TABLE, Date, Numeric, Part, TableSchema, Text
from ml.ingest.stored import read_table
from ml.inputs.table_rows import value_readers
from ml.preprocessing import Encode, moments
from ml.signature import (
    Classes,
    DateEncoding,
    DatePart,
    Encoding,
    Features,
    Output,
    Signature,
    Value,
    regression,
)
from ml.spelling import EARLIER_MISSING, Gaps, Spelling, text_of
from ml.spelling.booleans import read_booleans
from ml.spelling.dates import iso_of_days
from ml.spelling.numbers import number_in
from ml.strict import Strict

MAX_WIDTH = 100_000
"""Maximum number of inputs that one row is encoded as."""


class TableView(Strict):
    """A job's view of an uploaded table."""

    kind: Literal["table"] = "table"
    target: str | list[str]
    task: Task
    classes: list[str]
    """Names of the classes; empty for a regression."""
    features: dict[str, FeatureKind]
    categories: dict[str, int] = Field(default={})
    """Number of values of each categorical feature."""
    missing: list[str] = Field(default=list(EARLIER_MISSING))
    """Texts that mark a missing value."""
    spellings: dict[str, Spelling] = Field(default={})
    """How the file writes features; see `ml.signature.Encoding`."""
    written: dict[str, dict[str, str]] = Field(default={})
    """Names of the values of columns of numbers that are used as categories or classes, by the
    values' plain texts, where they differ: see `ml.ingest.schema.Numeric`."""
    dates: dict[str, list[DatePart]] = Field(default={})
    """Parts that each feature of dates may be encoded as."""
    width: int
    """Maximum number of inputs that one row is encoded as: see `ml.signature.Encoding`."""
    split_by: str | None
    rows: dict[Part, int]
    """Number of rows with a value of every target, by split; all as `train` without `split_by`."""

    @property
    def targets(self) -> list[str]:
        """Columns that are predicted."""
        return names_of(self.target)

    def signature(self) -> Signature:
        """Return the signature of a model of this table, as far as known without the rows."""
        kinds = self.features
        encoding = Encoding(
            booleans=[name for name, kind in kinds.items() if kind == "boolean"],
            categories={name: [""] * count for name, count in self.categories.items()},
            dates={name: DateEncoding(first="", parts=ps) for name, ps in self.dates.items()},
            missing=self.missing,
            spellings=self.spellings,
            width=self.width,
        )
        return Signature(
            inputs=Features(names=list(self.features), encoding=encoding), output=self._output()
        )

    def row_counts(self) -> RowCounts:
        """Return the number of rows of each split."""
        train = self.rows["train"]
        builtin = sum(self.rows.values()) - train
        return RowCounts(train, "test" in self.rows, "validation" in self.rows, builtin)

    def load(self, directory: Path, split: SplitSpec) -> Table:
        """Read the rows that have a value of every target, and what `split` divides them by.

        Raises:
            Invalid: a number is too large for float32, or the rows cannot be divided.
            Damaged: the rows are missing, or are not as they were written.
        """
        table = self._read(directory, [*self.features], split)
        categories: Categories = {}
        inputs = torch.empty((table.num_rows, len(self.features)), dtype=torch.float64)
        for index, (name, kind) in enumerate(self.features.items()):
            column = table[name].combine_chunks()
            if kind == "categorical":
                column, categories[name] = self._dictionary_encode(name, column)
            elif kind == "boolean" and pa.types.is_string(column.type):
                column = read_booleans(column)
            inputs[:, index] = torch.from_numpy(table_columns.numbers(name, column))
        targets = self._load_targets(table)
        return self._divided(table, inputs, targets, split, categories)

    def load_keys(self, directory: Path, split: SplitSpec) -> Table:
        """Read what `split` divides the rows by, without inputs and targets.

        Raises:
            Invalid, Damaged: see `load`.
        """
        table = self._read(directory, [], split)
        nothing = torch.empty((table.num_rows, 0))
        return self._divided(table, nothing, nothing, split, {})

    def _read(self, directory: Path, features: list[str], split: SplitSpec) -> Any:
        others = (*self.targets, self.split_by, split.column)
        columns = {*features, *(name for name in others if name is not None)}
        table = table_columns.with_values(read_table(directory, [*columns]), self.targets)
        if table.num_rows != sum(self.rows.values()):
            raise Damaged(directory / TABLE, "has another number of rows than when it was written")
        return table

    def _divided(
        self,
        table: Any,
        inputs: Tensor,
        targets: Tensor,
        split: SplitSpec,
        categories: Categories,
    ) -> Table:
        """Return rows in the splits that `split_by` assigns them to."""
        keys = None if split.column is None else split_keys.ranks(table[split.column], split)
        rows = Rows(inputs, targets, keys)
        if self.split_by is None:
            return Table(rows, categories=categories)
        parts = split_by.rows_of(self.split_by, table[self.split_by])
        held = {part: rows.at(index) for part, index in parts.items() if part in self.rows}
        return Table(held["train"], held.get("validation"), held.get("test"), categories)

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return the encoding of the features, and offset and scale of each numeric target."""
        numbered = list(enumerate(self.features))
        seen = {
            name: table_columns.different(train.inputs[:, index])
            for index, name in numbered
            if name in categories
        }
        used_categories = {
            name: [categories[name][i] for i in codes] for name, codes in seen.items()
        }
        missing = train.inputs.isnan().sum(dim=0).tolist()
        # An indicator that is always 1 would say nothing.
        gaps = [name for index, name in numbered if 0 < missing[index] < len(train)]
        mean, std = moments(train.inputs)
        fitted_dates = {
            name: fit_dates(train.inputs[:, index], self.dates[name])
            for index, name in numbered
            if name in self.dates
        }
        dates = {name: encoding for name, (encoding, _) in fitted_dates.items()}
        only = {
            name: None
            if missing[index] == len(train)
            else self._shown(name, mean[index].item(), categories)
            for index, name in numbered
            if std[index].isinf()
        }
        columns: list[Sequence[object]] = [
            *used_categories.values(),
            *(date.parts for date in dates.values()),
        ]
        encoding = Encoding(
            booleans=[name for name, kind in self.features.items() if kind == "boolean"],
            categories=used_categories,
            dates=dates,
            gaps=gaps,
            masked=list(only),
            missing=self.missing,
            spellings=self.spellings,
            width=len(self.features) - len(columns) + sum(map(len, columns)) + len(gaps),
        )
        output, warnings = self._output(), masked.warnings(only, gaps)
        if not isinstance(output, Classes):
            output = fit_units(self.targets, train.targets)
            warnings += skewness.warnings(self.targets, train.targets)
        features = Features(names=list(self.features), encoding=encoding)
        signature = Signature(inputs=features, output=output)
        layer = Encode.of(features, mean, std, [parts for _, parts in fitted_dates.values()])
        return Fitted(signature, layer, warnings)

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return loaded inputs as a model with `signature` reads the same values in a request:
        with its codes of categories, and gaps where it knows a missing value."""
        assert isinstance(signature.inputs, Features)
        encoding = signature.inputs.encoding or Encoding(width=0)
        gaps = Gaps.of(encoding.missing if encoding.missing != self.missing else ()).numbers
        encoded = inputs.clone()
        readers = value_readers(signature.inputs)
        for index, (name, read) in enumerate(zip(self.features, readers, strict=True)):
            column = encoded[:, index]
            if name in categories:
                codes = [read(self._value(name, text)) for text in categories[name]]
                known = ~column.isnan()
                column[known] = torch.tensor(codes, dtype=torch.float64)[column[known].long()]
            elif name not in self.dates:
                for gap in gaps:
                    column[column == gap] = math.nan
        return encoded

    def _value(self, name: str, text: str) -> str | float | None:
        """Return the value whose name as a category of a feature is `text`."""
        spelling = self.spellings.get(name)
        if spelling is None or spelling.kind != "numeric":
            return text
        return number_in(text, spelling.notation)

    def _dictionary_encode(self, name: str, column: Any) -> tuple[Any, list[str]]:
        """Return a column's values as indices into its distinct values, and the names of these."""
        values = pc.unique(column.drop_null()).sort()
        names = table_columns.names(values, self.written.get(name, {}))
        return pc.index_in(column, value_set=values), names

    def _shown(self, name: str, value: float, categories: Categories) -> str:
        """Return the raw `value` of a feature as a user would write it."""
        if name in categories:
            return repr(categories[name][round(value)])
        if name in self.dates:
            return iso_of_days(value)
        return text_of(bool(value) if self.features[name] == "boolean" else value)

    def _output(self) -> Output:
        if self.task == "regression":
            return regression([Value(name=name) for name in self.targets])
        return Classes(names=self.classes)

    def _load_targets(self, table: Any) -> Tensor:
        """Return float64 values `(rows, targets)`, or int64 class indices `(rows,)`."""
        columns = {name: table[name].combine_chunks() for name in self.targets}
        if self.task == "regression":
            arrays = [table_columns.numbers(*column) for column in columns.items()]
            return torch.from_numpy(np.stack(arrays, axis=1))
        [(target, column)] = columns.items()
        indices, names = self._dictionary_encode(target, column)
        assert names == self.classes, "the classes are those of the whole column"
        return torch.from_numpy(indices.to_numpy(zero_copy_only=False).astype(np.int64))


def view(
    schema: TableSchema,
    directory: Path,
    target: str | list[str],
    task: Task,
    features: Mapping[str, FeatureKind] | None,
    assigned_by: str | None,
    divided_by: str | None,
) -> TableView:
    """Return a job's view of the table in `directory`. The column `assigned_by` assigns rows to
    splits, and the rows are divided by the values of `divided_by`.

    Raises:
        Invalid: there are no features, or too many inputs; no row has a value of every target; or
            a value of `assigned_by` does not name a split, or none is for training. `loc` is within
            an upload's spec.
        Damaged: the rows are missing, or are not as they were written.
    """
    columns = {column.name: column for column in schema.columns}
    targets = names_of(target)
    aside = {*targets, assigned_by, divided_by, schema.split_by}
    features = features or {
        name: column.kind
        for name, column in columns.items()
        if name not in aside and not isinstance(column, Text)
    }
    if not features:
        but = "" if divided_by is None else f", since {divided_by!r} is one only if named"
        message = f"leaves no column to learn from{but}; name at least one"
        raise Invalid(message, ("features",))
    width = sum(
        width_of(columns[name], kind) + bool(columns[name].missing)
        for name, kind in features.items()
    )
    if width > MAX_WIDTH:
        raise Invalid(
            f"are encoded as {width:,} numbers per row, over the limit of {MAX_WIDTH:,}; leave out "
            "columns with many categories",
            ("features",),
        )
    read = targets if assigned_by is None else [*targets, assigned_by]
    table = table_columns.with_values(read_table(directory, read), targets)
    if not table.num_rows:
        raise Invalid("no row has a value of every target; choose others", ("target",))
    rows: dict[Part, int] = {"train": table.num_rows}
    if assigned_by is not None:
        with located_at("split_by"):
            rows = split_by.sizes_of(assigned_by, table[assigned_by])
    spellings = {
        name: spelling
        for name, kind in features.items()
        if (spelling := spelling_of(columns[name], kind)) is not None
    }
    coded = [name for name, kind in features.items() if kind == "categorical"]
    written = {
        name: column.written
        for name in (*coded, *(targets if task == "classification" else []))
        if isinstance(column := columns[name], Numeric) and column.written
    }
    dates = {
        name: all_parts(column.has_times, kind == "numeric")
        for name, kind in features.items()
        if isinstance(column := columns[name], Date) and kind != "categorical"
    }
    classes: list[str] = []
    if task == "classification":
        [name] = targets
        values = pc.unique(table[name].combine_chunks()).sort()
        classes = table_columns.names(values, written.get(name, {}))
    return TableView(
        target=target,
        task=task,
        classes=classes,
        features=dict(features),
        categories={name: width_of(columns[name], "categorical") for name in coded},
        missing=schema.missing,
        spellings=spellings,
        written=written,
        dates=dates,
        width=width,
        split_by=assigned_by,
        rows=rows,
    )
