"""Tables whose columns have types: read several times, to infer how the columns are to be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml.errors import Invalid
from ml.ingest.arrow_columns import NumberScan, Source, as_written, plain
from ml.ingest.options import Options
from ml.ingest.reading import reading
from ml.ingest.schema import TABLE, TableSchema
from ml.ingest.table_writer import TableWriter, check_size, warnings_of
from ml.ingest.warning import DataWarning, Kind, quoted
from ml.spelling import ColumnKind, Gaps, Guesses, Hints, Spelling, as_texts, guess_spellings
from ml.spelling.date_formats import ISO

FIRST_ROW = 1
MAX_BATCH_ROWS = 65_536
BATCH_VALUES = 4_000_000

Batches = Callable[[Sequence[str]], Iterator[list[Any]]]
"""Function that yields batches of some columns, as Arrow arrays."""


def batch_rows(columns: int) -> int:
    """Return how many rows of so many columns to read at a time."""
    return max(1, min(MAX_BATCH_ROWS, BATCH_VALUES // max(1, columns)))


@dataclass
class Findings:
    """Warnings and exclusions of a file's columns, collected before its rows are stored."""

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
    columns: Mapping[str, Source],
    rows: int,
    into: Path,
    options: Options,
    findings: Findings,
) -> TableSchema:
    """Write `columns` of a table of `rows` rows, and return its schema.

    Raises:
        Invalid: a column does not have the kind that the user chose, or none can be used.
    """
    findings.check_left(columns)
    check_size(rows, len(columns))
    if not rows:
        raise Invalid("has no rows below its header")
    gaps = options.gaps()
    plain_batches = partial(_plain_batches, batches, gaps)
    found = _spellings(plain_batches, columns, options, findings)
    spellings = {name: found[name] for name in columns if name in found}
    findings.check_left(spellings)
    with TableWriter(into / TABLE, spellings, gaps, FIRST_ROW) as writer:
        for batch in plain_batches([*spellings]):
            writer.add(
                [
                    as_written(values, spelling, gaps)
                    for values, spelling in zip(batch, spellings.values(), strict=True)
                ]
            )
    schema = writer.schema(options.types)
    labels = [name for name in spellings if columns[name].is_category]
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


def _plain_batches(batches: Batches, gaps: Gaps, names: Sequence[str]) -> Iterator[list[Any]]:
    for batch in batches(names):
        arrays = []
        for name, values in zip(names, batch, strict=True):
            with reading(f"the column {name!r}"):
                arrays.append(plain(values, gaps))
        yield arrays


def _spellings(
    batches: Batches, columns: Mapping[str, Source], options: Options, findings: Findings
) -> dict[str, Spelling]:
    """Return the spelling of each column that can be used."""
    labels: dict[str, ColumnKind] = {
        name: "categorical" for name, source in columns.items() if source.is_category
    }
    hints = options.hints()
    hints = replace(hints, types=labels | {**hints.types})
    texts, numbers = [], []
    found: dict[str, Spelling] = {}
    for name, source in columns.items():
        kind = hints.types.get(name, source.kind)
        if source.kind == "text" or (kind == "date" and source.kind != "date"):
            texts.append(name)
        elif source.kind == "numeric" and name not in hints.types:
            numbers.append(name)
        elif source.kind == "date" and kind in ("numeric", "boolean"):
            raise Invalid(f"the column {name!r} is of dates; it can be date or categorical")
        else:
            date = ISO.name if source.kind == "date" else ""
            found[name] = Spelling(kind=kind, date=date)
    found |= _of_texts(batches, texts, hints, options.gaps(), findings)
    return found | _of_numbers(batches, numbers, options.gaps(), findings)


def _of_texts(
    batches: Batches, names: Sequence[str], hints: Hints, gaps: Gaps, findings: Findings
) -> dict[str, Spelling]:
    """Return the spelling of columns of texts, and of others that are to be read from texts."""

    def guessed(some: Sequence[str]) -> Guesses:
        def texts() -> Iterator[list[Any]]:
            for batch in batches(some):
                yield [
                    values if pa.types.is_string(values.type) else gaps.trimmed(as_texts(values))
                    for values in batch
                ]

        return guess_spellings(some, texts, FIRST_ROW, hints)

    if not names:
        return {}
    try:
        guesses = guessed(names)
    except Invalid:
        # One of the columns cannot be used, or several.
        good = []
        for name in names:
            try:
                guessed([name])
                good.append(name)
            except Invalid as error:
                findings.leave_out(name, error.msg)
        if not good:
            return {}
        guesses = guessed(good)
    findings.warnings += warnings_of(guesses.findings)
    return guesses.spellings


def _of_numbers(
    batches: Batches, names: Sequence[str], gaps: Gaps, findings: Findings
) -> dict[str, Spelling]:
    """Return the spelling of columns of numbers."""
    if not names:
        return {}
    scans = [NumberScan(name, FIRST_ROW) for name in names]
    for batch in batches(names):
        for scan, values in zip(scans, batch, strict=True):
            with reading(f"the column {scan.name!r}"):
                scan.see(values, gaps)
    found: dict[str, Spelling] = {}
    for scan in scans:
        try:
            found[scan.name] = Spelling(kind=scan.kind())
        except Invalid as error:
            findings.leave_out(scan.name, error.msg)
            continue
        if not scan.is_exact:
            findings.warn(
                scan.name,
                "large_integers",
                f"{quoted(scan.name)} has whole numbers beyond 2^53, which would be rounded; it is "
                f"read as categories, or as numbers with numeric={scan.name}",
            )
    return found
