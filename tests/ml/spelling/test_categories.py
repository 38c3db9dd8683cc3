"""Categories are found by the texts of the file, and by what else means the same."""

import math
from typing import Any

import pytest

from ml.spelling import PLAIN, UNKNOWN, Categories, Gaps, Notation

GAPS = Gaps.of(["NA", "-999"])
GERMAN = Notation(decimal=",", thousands=".")


@pytest.mark.parametrize(
    ("names", "value", "found"),
    [
        (["v1.0", "v2.0"], "v1.0", "v1.0"),
        (["v1.0", "v2.0"], "v1", None),
        (["v1.0", "v2.0"], " v2.0 ", "v2.0"),
        (["red"], " red\n", "red"),
        (["red"], "Red", None),
        (["01234", "20095"], "01234", "01234"),
        (["01234", "20095"], 1234, "01234"),
        (["01234", "20095"], 1234.0, "01234"),
        (["01234", "20095"], "1234", "01234"),
        (["01234", "20095"], "1234.0", "01234"),
        (["01234", "1234"], "1234", "1234"),
        (["01234", "001234"], 1234, None),
        (["2.50"], 2.5, "2.50"),
        (["2.50"], "2.5", None),
        (["1.10", "1.9"], "1.1", None),
        (["1.10", "1.9"], 1.1, "1.10"),
        (["1.0", "2.0"], "1", "1.0"),
        (["1", "1.0"], "1.0", "1.0"),
        (["1", "1.0"], 1.0, "1"),
        (["True", "other"], True, "True"),
        (["True", "TRUE"], True, None),
        (["True", "False"], True, "True"),
        (["yes", "no"], False, "no"),
        (["Y", "N", "?!"], True, None),
        (["9007199254740993", "9007199254740992"], 9007199254740993, "9007199254740993"),
        (["9007199254740992", "x"], 9007199254740993, None),
        (["x"], 10**400, None),
        (["1e3"], 1000, "1e3"),
        (["0.1"], "0.1" + "0" * 2000, None),
    ],
)
def test_values_find_their_category(names: list[str], value: Any, found: str | None) -> None:
    code = Categories(names, GAPS).code(value)
    assert code == (UNKNOWN if found is None else names.index(found))


@pytest.mark.parametrize(
    ("notation", "names", "value", "found"),
    [
        (PLAIN, ["01234", "20095"], "1234", "01234"),
        (PLAIN, ["2.50", "3"], "2.5", "2.50"),
        (PLAIN, ["2.50", "3"], 3.0, "3"),
        (PLAIN, ["2.50", "3"], "3.00", "3"),
        (PLAIN, ["2.50", "3"], "three", None),
        (GERMAN, ["1.234,5", "2"], 1234.5, "1.234,5"),
        (GERMAN, ["1.234,5", "2"], "1234,50", "1.234,5"),
        (GERMAN, ["1.234", "2"], 1.234, None),
        (GERMAN, ["1.234", "2"], 1234, "1.234"),
    ],
)
def test_numbers_used_as_categories_are_found_by_size(
    notation: Notation, names: list[str], value: Any, found: str | None
) -> None:
    code = Categories(names, GAPS, notation).code(value)
    assert code == (UNKNOWN if found is None else names.index(found))


@pytest.mark.parametrize("value", ["", "  ", "NA", " NA", -999, -999.0, "-999", "-999.0"])
def test_gaps_are_no_category(value: Any) -> None:
    for notation in (None, PLAIN):
        code = Categories(["1", "2"], GAPS, notation).code(value)
        assert code is not None
        assert math.isnan(code)


@pytest.mark.parametrize("value", [[], {}, ["red"]])
def test_lists_and_objects_cannot_be_categories(value: Any) -> None:
    assert Categories(["red"], GAPS).code(value) is None
