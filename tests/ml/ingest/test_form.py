"""Text files as people have them: each is read as a person would read it, and guesses are said."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ml.errors import Invalid
from tests.ml.ingest.reading import read_table, stored_rows

Row = dict[str, Any]
PLAIN: list[Row] = [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]


def read(directory: Path, content: bytes | str, **options: Any) -> tuple[list[Row], str]:
    """Return the rows of a file, and what was guessed about its form."""
    schema, rows = read_table(directory, content, **options), stored_rows(directory)
    assert [column.name for column in schema.columns] == list(rows[0])
    return rows, "; ".join(w.message for w in schema.warnings if w.kind == "form")


@pytest.mark.parametrize(
    "content",
    [
        "\n\na,b\n1,x\n2,y\n",
        "sep=;\na;b\n1;x\n2;y\n",
        '"sep=|"\r\na|b\r\n1|x\r\n2|y\r\n',
        "\ufeffa,b\n1,x\n2,y\n",
        '\ufeff"a","b"\n"1","x"\n"2","y"\n',
        "a,b\r1,x\r2,y\r",
        "a,b\n1,x\n \n2,y\n\n",
        "a,b,\n1,x\n2,y\n",
        '{"a": 1, "b": "x"}\n{"a": 2.0, "b": "y"}\n',
        '[{"a": 1, "b": "x"},\n {"b": "y", "a": 2}]',
        gzip.compress(b"a;b\n1;x\n2;y\n", mtime=0),
        gzip.compress(b"a,b\n", mtime=0) + gzip.compress(b"1,x\n2,y\n", mtime=0),
    ],
)
def test_plain_forms_are_read_without_a_word(tmp_path: Path, content: bytes | str) -> None:
    assert read(tmp_path, content) == (PLAIN, "")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("Sales of 2024\n\na,b\n1,x\n2,y\n", "1 line above the header skipped.*'Sales of 2024'"),
        ("Sales\nby week, all\n\na,b\n1,x\n2,y\n", "2 lines above the header skipped"),
        ("# made by hand\n#\na,b\n1,x\n# half\n2,y\n", "2 lines skipped as comments"),
        ("# a b\n1 x\n2 y\n", "divided by blanks"),
        (",a,b\n0,1,x\n1,2,y\n", "first column, which has no name.*left out"),
        ('"","a","b"\n"Mazda",1,"x"\n"Datsun",2,"y"\n', "'Mazda, Datsun'.*left out"),
        ('"a" "b"\n"1" 1 "x"\n"2" 2 "y"\n', "first column, which has no name.*left out"),
        ("a\tb\n1\t1\tx\n2\t2\ty\n", "first column, which has no name.*left out"),
        ("Unnamed: 0,a,b\n0,1,x\n1,2,y\n", "'Unnamed: 0', has numbers.*left out"),
        ("a   b\n 1  x\n 2  y\n", "divided by blanks"),
        ("a,b,\n1,x,\n2,y,\n", "a column is left out, having neither a name nor a value"),
        ("a,b\n1,x,\n2,y,\n", "a column is left out, having neither a name nor a value"),
        ('{"a": 1, "b": "x", "c": [1]}\n{"a": 2, "b": "y"}\n', "lists and objects.*'c'"),
        ('a,b\n1, "x"\n2, "y"\n', "blanks between a delimiter and a quotation mark"),
    ],
)
def test_guesses_are_warnings(tmp_path: Path, content: str, told: str) -> None:
    rows, warning = read(tmp_path, content)
    assert rows == PLAIN
    assert re.search(told, warning)


def test_titles_padded_like_rows_are_skipped(tmp_path: Path) -> None:
    rows, warning = read(tmp_path, "Sales,,\n,,\nmonth,amount,by\nJan,3,x\nFeb,4,y\n")
    assert rows[0] == {"month": "Jan", "amount": 3, "by": "x"}
    assert "'Sales'" in warning


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n5.0,3.6,virginica\n", None),
        ("2024-01-01,5\n2024-01-02,6\n2024-01-03,6\n", None),
        ("M,0.455,15\nM,0.35,7\nF,0.53,9\n", None),
        ("1\n2\n3\n", None),
        ("country,1990,1991\nA,1.5,2\nB,4,5\n", ["country", "1990", "1991"]),
        ("0,1,2\n.5,1.2,3.1\n4.5,5.2,6.1\n", ["0", "1", "2"]),
        ('"1","7"\n5,6\n7,2\n', ["1", "7"]),
        ("first,last\nAda,Ito\nBo,Berg\n", ["first", "last"]),
        ("#,name,hp\n1,Bulba,45\n2,Ivy,60\n", ["#", "name", "hp"]),
    ],
)
def test_missing_header_is_noticed(tmp_path: Path, content: str, names: list[str] | None) -> None:
    lines = content.splitlines()
    rows, warning = read(tmp_path, content)
    if names is None:
        assert (len(rows), next(iter(rows[0]))) == (len(lines), "c1")
        assert "row 1 looks like data" in warning
        named, warning = read(tmp_path, content, header="none")
        assert (named, warning) == (rows, "")
        names = lines[0].split(",")
        rows, warning = read(tmp_path, content, header="first")
    assert (len(rows), list(rows[0]), warning) == (len(lines) - 1, names, "")


def test_names_are_made_unique_and_complete(tmp_path: Path) -> None:
    rows, warning = read(tmp_path, 'a,a,,"b\n(USD)"\n1,2,3,4\n5,6,7,8\n')
    assert rows[0] == {"a": 1, "a_2": 2, "c3": 3, "b (USD)": 4}
    assert "several columns are named 'a'; this one is read as 'a_2'" in warning
    assert "the column has no name; it is called 'c3'" in warning


def test_rows_of_gaps_count(tmp_path: Path) -> None:
    for content in ("a,b\n,\n1,2\n", "# x\na,b\n,\n1,2\n", "a,b\n,\n"):
        rows, _ = read(tmp_path, content)
        assert rows[0] == {"a": None, "b": None}
        assert len(rows) == content.count("\n") - content.count("#") - 1
    rows, warning = read(tmp_path, "a1,b1\n,\n,\n0,\n,\n:,\n")
    assert (len(rows), list(rows[0]), warning) == (5, ["a1", "b1"], "")
    assert read(tmp_path, 'a\n""\n1\n')[0] == [{"a": None}, {"a": 1}]


def test_single_column_beside_an_index(tmp_path: Path) -> None:
    for content in ('"","x"\n"1",28\n"2",-44\n"3",29\n', ",x\n0,28\n1,-44\n2,29\n"):
        assert read(tmp_path, content)[0] == [{"x": 28}, {"x": -44}, {"x": 29}]
    rows, warning = read(tmp_path, '"","x","y"\n"",1,2\n"",3,4\n')
    assert rows == [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
    assert "left out, having neither a name nor a value" in warning


def test_unnamed_column_of_repeated_values_is_kept(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, ",a\nx,1\nx,2\ny,3\n")
    assert rows[0] == {"c1": "x", "a": 1}


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("name, first;age\nx;3\ny;4\n", {"name, first": "x", "age": 3}),
        ("a|b,c\n1|2\n3|4\n", {"a": 1, "b,c": 2}),
        ("text\nhello\nworld; or not\n", {"text": "hello"}),
        ("id,when\n1,2024-01-01 10:00\n2,2024-01-02 11:00\n", {"id": 1}),
        ("genre,n\na|b,1\na|c,2\n", {"genre": "a|b", "n": 1}),
        ("name\nJohn Smith\nMary Jones\n", {"name": "John Smith"}),
    ],
)
def test_delimiter_divides_all_lines(tmp_path: Path, content: str, row: Row) -> None:
    first = read(tmp_path, content)[0][0]
    assert first | row == first


def test_quotation_marks_within_values(tmp_path: Path) -> None:
    rows, warning = read(tmp_path, 'name,size\npipe 12",5\n5\'10" rod,4\n')
    assert ([row["name"] for row in rows], warning) == (['pipe 12"', "5'10\" rod"], "")
    doubled, warning = read(tmp_path, 'name,size\n"12"" pipe, long\nand thin",5\nx,4\n')
    assert (doubled[0]["name"], warning) == ('12" pipe, long\nand thin', "")
    content = 'name,size\n"12" pipe",5\nx,4\n'
    plain, warning = read(tmp_path, content, quote="none")
    assert (plain[0]["name"], warning) == ('"12" pipe"', "")
    with pytest.raises(Invalid, match=r'line 2 .*"12" pipe.*quote=none'):
        read(tmp_path, content)
    single, _ = read(tmp_path, "name,size\n'a, b',5\n", quote="'")
    assert single[0] == {"name": "a, b", "size": 5}


@pytest.mark.parametrize("far", [0, 3000])
def test_escaped_quotation_marks(tmp_path: Path, far: int) -> None:
    content = "name,size\n" + '"plain",1\n' * far + '"say \\"hi, you\\"",5\n"C:\\\\",4\n'
    rows, warning = read(tmp_path, content)
    assert [row["name"] for row in rows[far:]] == ['say "hi, you"', "C:\\"]
    assert "escape=backslash" in warning
    assert read(tmp_path, content, escape="backslash") == (rows, "")
    with pytest.raises(Invalid, match=f"line {far + 2} has a quoted field that goes on"):
        read(tmp_path, content, escape="none")


def test_missing_replaces_the_usual_texts(tmp_path: Path) -> None:
    content = "a\nNA\nNone\n\nx\n-9\n".replace("\n\n", '\n""\n')
    expected = {
        None: [None, None, None, "x", "-9"],
        (): ["NA", "None", None, "x", "-9"],
        ("",): ["NA", "None", None, "x", "-9"],
        ("-9",): ["NA", "None", None, "x", None],
    }
    for missing, values in expected.items():
        given = {} if missing is None else {"missing": list(missing)}
        assert [row["a"] for row in read(tmp_path, content, **given)[0]] == values


CODES = [str(place) for place in range(1, 30)]


@pytest.mark.parametrize(
    "content",
    [
        '"","code","x"\n' + "".join(f'"{i}","{c}",{i}\n' for i, c in enumerate([*CODES, "X"])),
        "code,x\n" + "".join(f'"{c}",{i}.5\nNA,NA\n' for i, c in enumerate([*CODES, "X"])),
        "".join(f'{{"code": "{c}", "x": {i}}}\n' for i, c in enumerate([*CODES, "X"])),
    ],
)
def test_quoted_codes_beside_bare_numbers_are_categories(tmp_path: Path, content: str) -> None:
    schema = read_table(tmp_path, content)
    assert {column.name: column.kind for column in schema.columns} == {
        "code": "categorical",
        "x": "numeric",
    }
    assert [row["code"] for row in stored_rows(tmp_path) if row["code"]] == [*CODES, "X"]
    [warning] = [one for one in schema.warnings if one.kind == "numbers_as_text"]
    assert "'code' is read as categories, but 29 of 30 values are numbers" in warning.message


@pytest.mark.parametrize(
    "content",
    [
        "code,x\n" + "".join(f"{c},{i}\n" for i, c in enumerate([*CODES, "X"])),
        "code,x\n" + "".join(f'"{c}","{i}"\n' for i, c in enumerate([*CODES, "X"])),
        "code,x\n1,2\n" + "".join(f'"{c}",{i}\n' for i, c in enumerate([*CODES, "X"])),
        "".join(f'{{"code": "{c}", "x": "{i}"}}\n' for i, c in enumerate([*CODES, "X"])),
        '{"code": 7, "x": 1}' + "".join(f'{{"code": "{c}", "x": 1}}\n' for c in [*CODES, "X"]),
    ],
)
def test_quotes_tell_nothing_if_numbers_have_them_too(tmp_path: Path, content: str) -> None:
    with pytest.raises(Invalid, match="column 'code': 'X' is not a number, but"):
        read_table(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"<!DOCTYPE html>\n<html><body>Please log in</body></html>",
            "an HTML page, perhaps a log",
        ),
        ("\ufeff \n<html lang='en'>", "an HTML page"),
        ("<?xml version='1.0'?><a/>", "is XML"),
        (b"%PDF-1.7", "is a PDF"),
        (b"SQLite format 3\0", "an SQLite database; export"),
        (b"\x80\x04\x95", "a pickle"),
        ("version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (gzip.compress(b"RDX3\nX\n\0\0\0", mtime=0), r"is R data; write it with write.csv"),
        (gzip.compress(gzip.compress(b"a\n1\n", mtime=0), mtime=0), "packed with gzip twice"),
        (gzip.compress(b"a\n1\n", mtime=0)[:-9], "truncated or corrupt gzip file"),
        (b"\x1f\x8b\x08\x00", "truncated or corrupt gzip file"),
        (gzip.compress(b"a\n" + b"1\n" * 12_000_000, mtime=0), "would unpack from .* to over"),
        ('{"data": [{"a": 1}]}', "has no rows, but lists and objects: 'data'; send one object"),
        ('{"a": 1}\nnope\n', "row 2 is not a JSON object: 'nope"),
        ('[{"a": 1}, {"a": ', "row 2, an object, is not valid JSON"),
        ('[{"a": 1},', "ends within its array"),
        ("[[1, 2], [3, 4]]", "row 1 is not a JSON object"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("a,b\n1,2,3\n4,5,6\n", "row 2 has 3 fields, but the header has 2"),
        ("Title\n\na,b\n1,2\n3\n", "row 5 has 1 fields"),
        ('a\n"x\ny\nz\n', "line 2 has a quotation mark .* that is not closed"),
    ],
)
def test_other_files_are_told_for_what_they_are(
    tmp_path: Path, content: bytes | str, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        read(tmp_path, content)


def test_words_of_other_formats_may_begin_a_header(tmp_path: Path) -> None:
    for start in ("ORCHARD", "ID3", "<DATE>", "[id]", "{a}"):
        rows, _ = read(tmp_path, f"{start},n\nx,1\n")
        assert rows == [{start: "x", "n": 1}]


def test_numbers_of_json_are_read_as_written(tmp_path: Path) -> None:
    lines = [{"v": "v1.0", "n": 1}, {"v": "v2.10", "n": None, "late": True}]
    rows, _ = read(tmp_path, "\n".join(map(json.dumps, lines)))
    assert rows == [{"v": "v1.0", "n": 1, "late": None}, {"v": "v2.10", "n": None, "late": True}]
