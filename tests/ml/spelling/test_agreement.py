"""A text of a file and the same text in a request are the same value."""

import math
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml.spelling import PLAIN, Categories, Gaps, Notation, Spelling, read_column
from ml.spelling.values import READERS

NOTATIONS = [
    PLAIN,
    *(
        Notation(decimal=decimal, thousands=thousands, unit=unit, parentheses=True, bounds=True)
        for (decimal, thousands), unit in product(
            [(".", ","), (",", "."), (",", " "), (".", "'"), (",", "")], ["", "%", "€", "US$", "km"]
        )
    ),
]
PIECES = ["0", "1", "23", "456", ".", ",", " ", "\u202f", "'", "-", "+", "\u2212", "(", ")", "e"]
PIECES += ["<", "≤", "%", "€", "US$", "km", "NA", "nan", "inf", "yes", "T", "x", "\u0660", "\n"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | st.text(max_size=5)
TEXTS = st.lists(TEXT, min_size=20, max_size=40)
"""Many at a time, since an array takes about as long as a text."""
FEW = settings(max_examples=10, deadline=None)
GAPS = Gaps.of(["NA", "-1", "12.50"])


def in_file(texts: list[str], spelling: Spelling, gaps: Gaps = GAPS) -> list[object]:
    """Return the values of texts of a file, NaN for a gap, None for a text that is none."""
    trimmed = gaps.trimmed(pa.array(texts, pa.string()))
    values = read_column(trimmed, spelling, gaps)
    anything = read_column(trimmed, spelling, Gaps.of([]))
    is_gap = pc.and_(pc.is_null(values), pc.or_(pc.is_null(trimmed), pc.is_valid(anything)))
    return [
        math.nan if gap else value
        for value, gap in zip(values.to_pylist(), is_gap.to_pylist(), strict=True)
    ]


def in_requests(texts: list[str], spelling: Spelling) -> list[object]:
    return [READERS[spelling.kind](spelling, GAPS)(text) for text in texts]


def assert_same(texts: list[str], ones: list[object], others: list[object]) -> None:
    different = [
        (text, one, other)
        for text, one, other in zip(texts, ones, others, strict=True)
        if not (one == other or (one != one and other != other))
    ]
    assert different == []


@FEW
@given(texts=TEXTS, notation=st.sampled_from(NOTATIONS))
@example(["1.234,56 €", "-3", "(2)", "€ -4", "<0,5", "1.2345", "0.123", "1" * 101], NOTATIONS[8])
@example(["(1,234)", "1,23,456", "12,34", "1e5", "$3"], NOTATIONS[1])
@example(["1e999", "12.5", "-1.0", "-1e0", "+7", ".5", "5.", "1" * 101], PLAIN)
def test_numbers_agree(texts: list[str], notation: Notation) -> None:
    spelling = Spelling(kind="numeric", notation=notation)
    assert_same(texts, in_file(texts, spelling), in_requests(texts, spelling))


@FEW
@given(texts=TEXTS)
@example(["TRUE", "Yes", "n", "0.0", " 1 ", "-1.0", "2", "İ"])
def test_booleans_agree(texts: list[str]) -> None:
    spelling = Spelling(kind="boolean")
    assert_same(texts, in_file(texts, spelling), in_requests(texts, spelling))


@FEW
@given(texts=TEXTS)
def test_every_text_of_a_file_finds_its_category(texts: list[str]) -> None:
    values = in_file(texts, Spelling(kind="categorical"))
    names = sorted({value for value in values if isinstance(value, str)})
    categories = Categories(names, GAPS)
    for text, value in zip(texts, values, strict=True):
        code = categories.code(text)
        assert code is not None
        assert math.isnan(code) if value != value else names[int(code)] == value


@FEW
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=20))
def test_json_numbers_are_the_numbers_of_their_texts(numbers: list[float]) -> None:
    spelling = Spelling(kind="numeric")
    texts = [repr(number) for number in numbers]
    read = READERS["numeric"](spelling, GAPS)
    assert_same(texts, in_file(texts, spelling), [read(number) for number in numbers])


def test_white_space_is_the_same_for_both() -> None:
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    trimmed = Gaps.of([]).trimmed(pa.array([f"{c}x{c}" for c in characters], pa.string()))
    in_requests = [f"{c}x{c}".strip() for c in characters]
    different = [
        c for c, a, b in zip(characters, trimmed.to_pylist(), in_requests, strict=True) if a != b
    ]
    assert different == []
