"""How the columns of a file are written is found out from all of their texts."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from ml.errors import Invalid
from ml.spelling import Gaps, Guesses, Hints, guess_spellings, read_column

GAPS = Gaps()


def guess(columns: dict[str, list[str]], batch: int = 10**6, **hints: Any) -> Guesses:
    rows = len(next(iter(columns.values())))

    def batches() -> Iterator[list[Any]]:
        for start in range(0, rows, batch):
            part = [texts[start : start + batch] for texts in columns.values()]
            yield [GAPS.trimmed(pa.array(texts, pa.string())) for texts in part]

    return guess_spellings(list(columns), batches, 2, Hints(**hints))


def values(texts: list[str], batch: int = 10**6, **hints: Any) -> tuple[str, list[object], str]:
    """Return the kind of a column, its values, and all that is said about it."""
    guesses = guess({"a": texts}, batch, **hints)
    trimmed = GAPS.trimmed(pa.array(texts, pa.string()))
    found = read_column(trimmed, guesses.spellings["a"], GAPS).to_pylist()
    return guesses.spellings["a"].kind, found, " ".join(f.message for f in guesses.findings)


@pytest.mark.parametrize(
    ("texts", "numbers", "said"),
    [
        (["1", "-2.5", "+3e2", ""], [1, -2.5, 300, None], ""),
        (["1,5", "2,25", "NA"], [1.5, 2.25, None], "'1,5' is 1.5"),
        (["1.234,56", "7"], [1234.56, 7], "'1.234,56' is 1234.56"),
        (["1,234.56", "7"], [1234.56, 7], "'1,234.56' is 1234.56"),
        (["1,234", "7"], [1234, 7], "'1,234' is 1234; if ',' is the decimal mark, set decimal=,"),
        (["0,123", "1,234"], [0.123, 1.234], "'0,123' is 0.123"),
        (["12,34,567", "1,000"], [1234567, 1000], "1234567"),
        (["1 234,5", "12\u202f345,6"], [1234.5, 12345.6], "is 1234.5"),
        (["1'234.50", "12\u2019345"], [1234.5, 12345], "is 1234.5"),
        (["12%", "7.5 %"], [12, 7.5], "'12%' is 12"),
        (["$3.50", "-$1,200", "($7)"], [3.5, -1200, -7], "'$3.50' is 3.5"),
        (["€ 3", "€ 4,50"], [3, 4.5], "'€ 3' is 3"),
        (["3,50 €", "1.000,00 €"], [3.5, 1000], "is 3.5"),
        (["CHF 5", "CHF 6.50"], [5, 6.5], "'CHF 5' is 5"),
        (["70 kg", "82.5 kg"], [70, 82.5], "'70 kg' is 70"),
        (["(1,234)", "500"], [-1234, 500], "'(1,234)' is -1234"),
        (["<0.1", "0.25", "0.3"], [0.1, 0.25, 0.3], "'<0.1' is 0.1"),
        (["\u22125", "3"], [-5, 3], "is -5"),
        (["007.5", "012.5"], [7.5, 12.5], ""),
    ],
)
def test_columns_that_are_plainly_numbers_are_read(
    texts: list[str], numbers: list[object], said: str
) -> None:
    kind, found, message = values(texts)
    assert (kind, found) == ("numeric", numbers)
    assert said in message
    assert bool(said) == bool(message)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["red", "blue"], ""),
        (["v1.0", "v2.0"], ""),
        (["Q1", "Q2"], ""),
        (["g1", "g3"], ""),
        (["A4", "A3"], ""),
        (["yes", "no"], ""),
        (["1,5", "12,x"], "1 of 2 values are numbers, written like '1,5'"),
        (["(1)", "(2)"], "to read '(1)' as a number, list it in numeric"),
        (["<18", ">65"], "to read '<18' as a number, list it in numeric"),
        (["5 widgets", "6 widgets"], "to read '5 widgets' as a number, list it in numeric"),
        (["$5", "$6", "€7"], "2 of 3 values are numbers, written like '$5'"),
        (["01234", "98765"], "has leading zeros, as in '01234': it is read as categories"),
        (["9007199254740993", "5"], "too large to be exact, such as 9007199254740993"),
    ],
)
def test_other_columns_are_categories(texts: list[str], said: str) -> None:
    kind, found, message = values(texts)
    assert (kind, found) == ("categorical", texts)
    assert said in message
    assert bool(said) == bool(message)


def test_declared_numbers_are_read_in_any_notation() -> None:
    def numbers(*texts: str) -> list[object]:
        kind, found, _ = values(list(texts), types={"a": "numeric"})
        assert kind == "numeric"
        return found

    assert numbers("01234", "7") == [1234, 7]
    assert numbers("5 widgets", "7") == [5, 7]
    assert numbers("(1)", "(2)") == [-1, -2]
    assert numbers("<18", ">65") == [18, 65]
    assert numbers("9007199254740993", "5") == [2.0**53, 5]


def test_marks_can_be_named() -> None:
    assert values(["1.234", "5"], decimal=",")[1] == [1234, 5]
    assert values(["1.234", "5"], decimal=",")[2] == ""
    assert values(["1,234", "5"], decimal=",")[1] == [1.234, 5]
    assert values(["1.234", "5"], thousands=".")[1] == [1234, 5]
    assert values(["1,234", "5"], thousands=",")[1] == [1234, 5]
    kind, found, said = values(["1.5", "2.25"], decimal=",")
    assert (kind, found) == ("numeric", [1.5, 2.25])
    assert "not written with the given marks" in said
    with pytest.raises(Invalid, match="decimal and thousands are both ','"):
        guess({"a": ["1"]}, decimal=",", thousands=",")


def test_columns_of_one_file_have_one_decimal_mark() -> None:
    # Alone, 1,234 has a thousands mark; beside 0,5 it has not; and 12.500 is not twelve.
    found = guess({"a": ["1,234", "2,345"], "b": ["0,5", "1,25"], "c": ["12.500", "8.000"]})
    assert {s.notation.decimal for s in found.spellings.values()} == {","}
    assert [f.column for f in found.findings] == ["a", "b", "c"]
    found = guess({"a": ["1,234", "2,345"], "b": ["0.5", "1.25"]}, decimal_comma=True)
    assert {s.notation.decimal for s in found.spellings.values()} == {"."}
    found = guess({"a": ["1,234", "2,345"]}, decimal_comma=True)
    assert found.spellings["a"].notation.decimal == ","


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2", "3,5", "4"], "numeric"),
        (["1.5", "2.5", "3,5", "4"], "categorical"),
        (["1", "2", "01", "4"], "categorical"),
        (["1", "2", "9007199254740993", "4"], "categorical"),
        (["1.5", "2", "9007199254740993", "4"], "numeric"),
        (["1", "true", "false", "true"], "categorical"),
        (["true", "false", "TRUE", "true"], "boolean"),
    ],
)
def test_guess_does_not_depend_on_the_batches(texts: list[str], kind: str) -> None:
    for size in (1, 2, 4):
        assert values(texts, size)[0] == kind


def test_few_values_that_are_no_numbers_are_named() -> None:
    with pytest.raises(
        Invalid, match=r"row 21, column 'a': 'n\.a\.' is not a number, but 19 of 20"
    ):
        values(["1"] * 19 + ["n.a."])
    with pytest.raises(Invalid, match=r"19 of 20 values are, written like '1,5'"):
        values(["1,5"] * 19 + ["n.a."])


def test_missing_numbers_are_gaps_however_they_are_written() -> None:
    gaps = Gaps.of(["-999", "-"])
    texts = pa.array(["-999", "-999.0", "-9.99e2", "-", "", "NA", " x "])
    assert gaps.trimmed(texts).to_pylist() == [None, None, "-9.99e2", None, None, "NA", "x"]
    for array in (pa.array([-999, 1, None]), pa.array([-999.0, 1.0, float("nan")])):
        assert gaps.without(array).to_pylist() == [None, 1, None]
    assert Gaps.of(["300", "0.5"]).without(pa.array([44], pa.uint8())).to_pylist() == [44]
