"""Tables whose columns have types: read twice, once to infer what the columns are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.errors import Invalid
from ml.ingest.arrow_columns import Scan, as_text, plain
from ml.ingest.options import ColumnKind, Options
from ml.ingest.reading import reading
from ml.ingest.schema import TABLE, TableSchema
from ml.ingest.table_writer import TableWriter, check_size
from ml.ingest.warning import DataWarning, Kind, quoted

FIRST_ROW = 1
MAX_BATCH_ROWS = 65_536
BATCH_VALUES = 4_000_000

Batches = Callable[[list[str]], Iterator[list[Any]]]
"""Function that yields batches of some columns, as Arrow arrays."""


def batch_rows(columns: int) -> int:
    """Return how many rows of so many columns to read at a time."""
    return max(1, min(MAX_BATCH_ROWS, BATCH_VALUES // max(1, columns)))


@dataclass
class Findings:
    """What is found out about a file's columns before its rows are stored."""

    declared: Mapping[str, ColumnKind]
    """Kinds that the user chose."""
    warnings: list[DataWarning] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Reason for each column that is left out, as a sentence."""

    def leave_out(self, name: str, reason: str) -> None:
        """Leave out a column that cannot be used.

        Raises:
            Invalid: the user chose its kind.
        """
        if name in self.declared:
            raise Invalid(f"{reason}; it cannot be {self.declared[name]}")
        self.left_out[name] = reason
        self.warn(name, "left_out", f"{reason.removeprefix('the column ')}; it was left out")

    def warn(self, name: str | None, kind: Kind, message: str) -> None:
        """Add a warning."""
        self.warnings.append(DataWarning(column=name, kind=kind, message=message))

    def check_left(self, names: object) -> None:
        """Check that there are columns left.

        Raises:
            Invalid: every column was left out; the message says why the first was.
        """
        if names:
            return
        reason = next(iter(self.left_out.values()), "it has none")
        raise Invalid(f"has no column that can be used: {reason}")


def write(
    batches: Batches,
    columns: Mapping[str, bool],
    rows: int,
    into: Path,
    options: Options,
    findings: Findings,
) -> TableSchema:
    """Write a table of `rows` rows, and return its schema. `columns` are the names of those to
    read, and whether the file itself says that a column's values are categories.

    Raises:
        Invalid: a column does not have the kind that the user chose, or none can be used.
    """
    findings.check_left(columns)
    check_size(rows, len(columns))
    kinds = _kinds(batches, columns, options, findings)
    findings.check_left(kinds)
    with TableWriter(into / TABLE, kinds, FIRST_ROW) as writer:
        for batch in batches([*kinds]):
            writer.add(
                [
                    as_text(values) if kind in ("categorical", "text") else values
                    for values, kind in zip(
                        _plain(batch, kinds, options), kinds.values(), strict=True
                    )
                ]
            )
    schema = writer.schema(options.types)
    labels = [name for name in kinds if columns[name]]
    sure = {*labels, *(one.column for one in findings.warnings if one.kind == "large_integers")}
    guesses = [
        one for one in schema.warnings if one.kind != "numbers_as_text" or one.column not in sure
    ]
    return schema.model_copy(
        update={
            "warnings": [*findings.warnings, *guesses],
            "left_out": findings.left_out,
            "labels": labels,
        }
    )


def _kinds(
    batches: Batches, columns: Mapping[str, bool], options: Options, findings: Findings
) -> dict[str, ColumnKind]:
    scans = {
        name: Scan(name, is_category, FIRST_ROW)
        for name, is_category in columns.items()
        if name not in options.types
    }
    if scans:
        for batch in batches([*scans]):
            for scan, values in zip(scans.values(), _plain(batch, scans, options), strict=True):
                with reading(f"the column {scan.name!r}"):
                    scan.see(values)
    kinds: dict[str, ColumnKind] = {}
    for name in columns:
        try:
            kinds[name] = options.types.get(name) or scans[name].kind()
        except Invalid as error:
            findings.leave_out(name, error.msg)
            continue
        if name in scans and not scans[name].is_exact and kinds[name] == "categorical":
            findings.warn(
                name,
                "large_integers",
                f"{quoted(name)} has whole numbers beyond 2^53, which would be rounded; it is read "
                f"as categories, or as numbers with numeric={name}",
            )
    return kinds


def _plain(batch: list[Any], names: Mapping[str, object], options: Options) -> list[Any]:
    arrays = []
    for name, values in zip(names, batch, strict=True):
        with reading(f"the column {name!r}"):
            arrays.append(plain(values, options.missing))
    return arrays
