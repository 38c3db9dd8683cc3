"""Columns of dates in files: their kind, statistics, stored values, and what is told of them."""

import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.errors import Invalid
from ml.ingest.preview import preview
from ml.ingest.schema import TABLE, Categorical, Date, Numeric
from tests.ml.ingest.reading import read_table

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def stored(tmp_path: Path, name: str) -> list[datetime | None]:
    found: list[datetime | None] = pq.read_table(tmp_path / "into" / TABLE)[name].to_pylist()
    return found


def test_column_of_dates_is_described_and_stored_in_utc(tmp_path: Path) -> None:
    text = "day,at\n31.12.2024,2024-12-31T00:30:00+01:00\n,\n1.2.2023,2024-12-30\n"
    schema = read_table(tmp_path, text)
    assert schema.columns == [
        Date(
            name="day",
            missing=1,
            distinct=2,
            format="DD.MM.YYYY",
            has_times=False,
            min="2023-02-01",
            max="2024-12-31",
        ),
        Date(
            name="at",
            missing=1,
            distinct=2,
            format="YYYY-MM-DD",
            has_times=True,
            min="2024-12-30T00:00:00Z",
            max="2024-12-30T23:30:00Z",
        ),
    ]
    assert stored(tmp_path, "at")[0] == datetime(2024, 12, 30, 23, 30, tzinfo=UTC)
    assert preview(schema, tmp_path / "into", 2) == [
        ["2024-12-31", "2024-12-30T23:30:00Z"],
        [None, None],
    ]


def test_order_of_day_and_month_is_told_and_can_be_named(tmp_path: Path) -> None:
    text = "when,y\n03/04/2024,1\n05/06/2024,2\n"
    schema = read_table(tmp_path, text)
    [warning] = [one for one in schema.warnings if one.column == "when"]
    assert warning.kind == "ambiguous_date"
    assert "read as MM/DD/YYYY, so 03/04/2024 is 2024-03-04" in warning.message
    (tmp_path / "b").mkdir()
    named = read_table(tmp_path / "b", text, types={"when": "date"}, dates={"when": "day_first"})
    assert isinstance(named.columns[0], Date)
    assert named.columns[0].min == "2024-04-03"
    assert not [one for one in named.warnings if one.column == "when"]
    (tmp_path / "c").mkdir()
    other = read_table(tmp_path / "c", "when,then\n03/04/2024,31/12/2024\n05/06/2024,01/01/2025\n")
    assert isinstance(other.columns[0], Date)
    assert other.columns[0].format == "DD/MM/YYYY"


def test_years_of_two_digits_are_told(tmp_path: Path) -> None:
    schema = read_table(tmp_path, "born,y\n31.12.68,1\n01.05.70,2\n")
    [warning] = [one for one in schema.warnings if one.column == "born"]
    assert warning.kind == "date_format"
    assert "read as 1969 to 2068: 31.12.68 is 2068-12-31" in warning.message


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [f"2024-01-{day:02}" for day in range(1, 31)] + ["2024-02-31"],
            {},
            "row 32, column 'when': '2024-02-31' is not a date like .* 30 of 31 values",
        ),
        (
            ["31.02.2024"],
            {"types": {"when": "date"}},
            "row 2, column 'when': '31.02.2024' is not a",
        ),
        (["1e30"], {"types": {"when": "date"}}, "is not a date; dates are written like 2024-12-31"),
        (["a"], {"dates": {"when": "day_first"}}, "whose type in `types` must be date"),
    ],
)
def test_what_is_no_date_is_refused_by_row(
    tmp_path: Path, rows: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((Invalid, ValueError), match=message):
        read_table(tmp_path, "\n".join(["when,y", *(f"{row},1" for row in rows)]), **options)


def test_few_dates_among_words_and_plain_numbers_stay_what_they_were(tmp_path: Path) -> None:
    text = "a,b,c,d\n2024-01-01,20241231,1987,31.02.2024\nsoon,20250101,2024,01.03.2024\n"
    columns = read_table(tmp_path, text).columns
    assert [type(column) for column in columns] == [Categorical, Numeric, Numeric, Categorical]
    (tmp_path / "b").mkdir()
    types = {"b": "date", "c": "date"}
    declared = {c.name: c for c in read_table(tmp_path / "b", text, types=types).columns}
    assert [declared[name].min for name in "bc"] == ["2024-12-31", "1987-01-01"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "kind",
    [
        pa.date32(),
        pa.date64(),
        pa.timestamp("s"),
        pa.timestamp("ms", "Asia/Tokyo"),
        pa.timestamp("ns"),
    ],
    ids=str,
)
def test_parquet_types_of_dates(tmp_path: Path, kind: pa.DataType) -> None:
    moments = [NOON, None, datetime(1969, 7, 20, tzinfo=UTC)]
    values = [one and (one.date() if pa.types.is_date(kind) else one) for one in moments]
    if not pa.types.is_date(kind) and kind.tz is None:
        values = [one and one.replace(tzinfo=None) for one in values]
    buffer = io.BytesIO()
    table = {"when": pa.array(values, kind), "text": ["31/12/2024", "01/02/2024", None]}
    pq.write_table(pa.table(table), buffer)
    when, text = read_table(tmp_path, buffer.getvalue()).columns
    assert isinstance(when, Date)
    assert isinstance(text, Date)
    is_day = pa.types.is_date(kind)
    assert (when.has_times, when.min) == (
        not is_day,
        "1969-07-20" + ("" if is_day else "T00:00:00Z"),
    )
    assert text.format == "DD/MM/YYYY"
    expected = datetime(2024, 2, 29, tzinfo=UTC) if is_day else NOON
    assert stored(tmp_path, "when") == [expected, None, moments[2]]


def test_arrays_of_dates_and_of_seconds(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    days = np.array([date(2024, 2, 29), "NaT"], "M8[D]")
    np.savez(buffer, day=days, t=np.array([1_700_000_000, 0]), n=np.array([20240229, 20240301]))
    types = {"t": "date", "n": "date"}
    schema = read_table(tmp_path, buffer.getvalue(), types=types, dates={"t": "epoch_seconds"})
    found = {column.name: column for column in schema.columns}
    assert [found[name].kind for name in ("day", "t", "n")] == ["date"] * 3
    assert stored(tmp_path, "day") == [datetime(2024, 2, 29, tzinfo=UTC), None]
    assert stored(tmp_path, "t")[0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert stored(tmp_path, "n")[1] == datetime(2024, 3, 1, tzinfo=UTC)
