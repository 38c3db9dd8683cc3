"""Reading untrusted CSV files."""

import contextlib
import csv
import io
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ml.errors import Invalid
from ml.ingest import Options, ingest
from ml.ingest.csv_file import BLOCK_BYTES
from ml.ingest.schema import (
    MAX_CATEGORIES,
    TABLE,
    Boolean,
    Categorical,
    Column,
    Numeric,
    Text,
)
from ml.spelling import MISSING
from tests.ml.ingest.reading import read_table, stored_rows

ANY_FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def columns(tmp_path: Path, content: bytes | str, **options: Any) -> dict[str, Column]:
    return {column.name: column for column in read_table(tmp_path, content, **options).columns}


def test_column_types_are_inferred_from_all_values(tmp_path: Path) -> None:
    found = columns(
        tmp_path,
        "number,truth,colour,empty\n1.5,true,red,\n-2e1,FALSE,green,NA\n,?, red ,null\n+4,,,None\n",
    )
    assert found == {
        "number": Numeric(
            name="number",
            missing=1,
            distinct=3,
            whole=False,
            min=-20,
            max=4,
            mean=-14.5 / 3,
            std=statistics.pstdev([1.5, -20, 4]),
            written={"-20": "-2e1", "4": "+4"},
        ),
        "truth": Boolean(name="truth", missing=2, true=1),
        "colour": Categorical.model_validate(
            {
                "name": "colour",
                "missing": 1,
                "categories": [{"value": "green", "count": 1}, {"value": "red", "count": 2}],
            }
        ),
        "empty": Numeric(
            name="empty", missing=4, distinct=0, whole=True, min=None, max=None, mean=None, std=None
        ),
    }
    assert stored_rows(tmp_path)[2] == {
        "number": None,
        "truth": None,
        "colour": "red",
        "empty": None,
    }


def test_column_with_many_values_is_text(tmp_path: Path) -> None:
    found = columns(tmp_path, "t\n" + "\n".join(f"t{i}" for i in range(MAX_CATEGORIES + 1)))
    assert found == {"t": Text(name="t", missing=0)}
    found = columns(tmp_path, "t\n" + "x" * 1001 + "\nshort\n")
    assert found == {"t": Text(name="t", missing=0)}


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2,y\n",
        b"a,b\r\n1,x\r\n2,y\r\n",
        b"a,b\n1,x\n2,y",
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"a;b\n1;x\n2;y\n",
        b"a\tb\n1\tx\n2\ty\n",
        b"a|b\n1|x\n2|y\n",
        b' a , "b"\n 1, "x"\n2 ,y\n'.replace(b', "', b',"'),
        b'"a","b"\n"1","x"\n"2","y"\n',
    ],
)
def test_dialects_give_the_same_table(tmp_path: Path, content: bytes) -> None:
    read_table(tmp_path, content)
    assert stored_rows(tmp_path) == [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]


def test_quoted_fields_may_contain_delimiters(tmp_path: Path) -> None:
    read_table(tmp_path, 'a,b\n"x, y","line\nbreak"\n"say ""so""",z\n')
    assert stored_rows(tmp_path) == [{"a": "x, y", "b": "line\nbreak"}, {"a": 'say "so"', "b": "z"}]


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "utf-16", "utf-32", "utf-8"])
def test_encoding_can_be_set(tmp_path: Path, encoding: str) -> None:
    read_table(tmp_path, "name\nZürich\nGenève\n".encode(encoding), encoding=encoding)
    assert stored_rows(tmp_path) == [{"name": "Zürich"}, {"name": "Genève"}]


def test_column_types_can_be_set(tmp_path: Path) -> None:
    content = "zip,lift,note\n8001,yes,a\n8002,no,b\n8001,-,c\n"
    kinds = {"zip": "categorical", "lift": "boolean", "note": "text"}
    found = columns(tmp_path, content, types=kinds, missing=["-"])
    assert [column.kind for column in found.values()] == ["categorical", "boolean", "text"]
    assert stored_rows(tmp_path)[2] == {"zip": "8001", "lift": None, "note": "c"}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "is empty"),
        ("a,b\n", {}, "no rows below its header"),
        ("a,b", {}, "no rows below its header"),
        ("\n\n", {}, "no rows"),
        ("a,b\n1,2,3\n", {}, "row 2 has 3 fields, but the header has 2"),
        ("a,b\n1,2\n3\n", {}, "row 3 has 1 fields, but the header has 2"),
        ("x" * 201 + ",b\n1,2\n", {}, "the name of column 1, 'xxx.* has 201 characters"),
        (",".join(f"c{i}" for i in range(10_000)) + "\n", {}, "has 10,000 columns; at most 4,096"),
        ("a,b\n1,é\n".encode("latin-1"), {}, "line 2 is not UTF-8.*encoding=latin-1"),
        (b"a,b\n1,\xe2\x82", {}, "line 2 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), {}, "looks like UTF-16.*encoding=utf-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), {}, "NUL byte in line 1.*encoding=utf-16"),
        (b"a,b\n1,2\n3,\0\n", {}, "NUL byte in line 3"),
        (b"\xff\xfe\x00", {"encoding": "utf-16"}, "not in the encoding utf-16"),
        ("a,b\n1,2\n", {"types": {"c": "text"}}, "no column 'c' to be text; choose from a, b"),
        ("a\n1\nx\n", {"types": {"a": "numeric"}}, "row 3, column 'a': 'x' is not a number"),
        ("a\ntrue\nmaybe\n", {"types": {"a": "boolean"}}, "row 3, column 'a': 'maybe' is not true"),
        ("a\n1\n1e999\n", {}, "row 3, column 'a': inf is not a finite number"),
        ("a\n1\n1e39\n", {}, r"row 3, column 'a': 1e\+39 is not a finite number of at most 3.4e"),
        (
            "a\n" + "1\n" * 19 + "oops\n",
            {},
            "row 21, column 'a': 'oops' is not a number, but 19 of 20",
        ),
        ('a,b\n1,"' + "x,y\n" * 3_000_000 + '"\n', {}, "a row of over 4 MiB"),
    ],
)
def test_invalid_files_are_refused(
    tmp_path: Path, content: bytes | str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        read_table(tmp_path, content, **options)


def test_long_cell_is_refused_before_it_is_read(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    into.mkdir()
    with source.open("wb") as file:
        file.write(b"a,b\n1,")
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    with pytest.raises(Invalid, match=f"a row of over {BLOCK_BYTES // 2**20} MiB"):
        ingest(source, into, Options())
    assert list(into.iterdir()) == []


def test_limits_are_enforced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.ingest.table_writer.MAX_ROWS", 5)
    with pytest.raises(Invalid, match="has over 5 rows"):
        read_table(tmp_path, "a\n" + "1\n" * 6)
    monkeypatch.setattr("ml.ingest.table_writer.MAX_VALUES", 8)
    with pytest.raises(Invalid, match="has over 8 values"):
        read_table(tmp_path, "a,b\n" + "1,2\n" * 5)


def test_options_are_checked() -> None:
    for wrong in ({"encoding": "klingon"}, {"delimiter": "ab"}, {"types": {"a": "colour"}}):
        with pytest.raises(ValidationError):
            Options.model_validate(wrong)


CELLS = {
    "numeric": st.floats(-1e38, 1e38).map(repr) | st.integers(-(10**15), 10**15).map(str),
    "boolean": st.sampled_from(["true", "false", "True", "FALSE"]),
    "categorical": st.text(
        st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8
    ).filter(lambda t: t == t.strip() and t not in MISSING),
}


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=4))
    size = draw(st.integers(1, 12))
    cells = [
        draw(st.lists(CELLS[kind] | st.just(""), min_size=size, max_size=size)) for kind in kinds
    ]
    header = [f"c{i}_{kind}" for i, kind in enumerate(kinds)]
    return [header, *(list(row) for row in zip(*cells, strict=True))]


@ANY_FILES
@given(table=tables(), delimiter=st.sampled_from([",", ";", "\t", "|"]))
def test_tables_round_trip(tmp_path: Path, table: list[list[str]], delimiter: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(table)
    schema = read_table(tmp_path, file.getvalue(), delimiter=delimiter)
    assert schema.rows == len(table) - 1
    for index, column in enumerate(schema.columns):
        written = [row[index] for row in table[1:]]
        came = [row[column.name] for row in stored_rows(tmp_path)]
        assert column.missing == written.count("") == came.count(None)
        for text, value in zip(written, came, strict=True):
            if value is None:
                continue
            if column.kind == "numeric":
                assert value == float(text)
            elif column.kind == "boolean":
                assert value == (text.lower() == "true")
            else:
                assert value == text


@ANY_FILES
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(Invalid):
        read_table(tmp_path, content)


def test_reader_process_needs_no_torch_and_bounded_memory(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    source.write_bytes(b"a,b\n" + b"1,2\n" * 100_000)
    into.mkdir()
    errors = tmp_path / "errors"
    task = {"source": str(source), "into": str(into), "errors": str(errors), "options": {}}

    def run(megabytes: int) -> Any:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "ml.ingest"],
            input=json.dumps(task | {"max_memory_bytes": megabytes * 2**20}).encode(),
            capture_output=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert b"| torch" not in done.stderr + errors.read_bytes()
        return json.loads(done.stdout)

    assert run(4096)["schema"]["rows"] == 100_000
    (into / TABLE).unlink()
    source.write_bytes(b"a,b\n1,\n")
    assert run(4096)["schema"]["rows"] == 1


def test_columns_can_be_ignored(tmp_path: Path) -> None:
    schema = read_table(tmp_path, "a,b,c\n1,x,2\n2,y,3\n", ignore=["b"])
    assert [column.name for column in schema.columns] == ["a", "c"]
    assert pq.read_table(tmp_path / "into" / TABLE).to_pylist()[1] == {"a": 2.0, "c": 3.0}
    with pytest.raises(Invalid, match="there is no column 'z' to ignore; choose from a, b, c"):
        read_table(tmp_path, "a,b,c\n1,x,2\n", ignore=["z"])
