"""Large JSON, taken apart without being parsed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import Invalid
from ml.inputs.json_slices import CHUNK_BYTES, NotJson, Scanner, check_row, groups, parsed

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


def never() -> None:
    pass


def items(text: bytes) -> list[Any]:
    scanner = Scanner(text, never)
    spans = [scanner.value() for _ in scanner.items()]
    scanner.end()
    return [parsed(text[start:stop]) for start, stop in spans]


def members(text: bytes) -> dict[str, Any]:
    scanner, found = Scanner(text, never), {}
    for name in scanner.members():
        start, stop = scanner.value()
        found[name] = parsed(text[start:stop])
    scanner.end()
    return found


@given(st.lists(VALUES), st.sampled_from([None, 0, 3]), st.booleans())
def test_items_are_those_of_a_parser(values: list[Any], indent: int | None, ascii_: bool) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_).encode()
    assert items(text) == values


@given(st.dictionaries(st.text(max_size=6), VALUES), st.sampled_from([None, 2]))
def test_members_are_those_of_a_parser(document: dict[str, Any], indent: int | None) -> None:
    assert members(json.dumps(document, indent=indent).encode()) == document


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b"[1",
        b"[1,",
        b"[,]",
        b"[1,]",
        b"[1 2]",
        b"[1}",
        b"{}",
        b'["a]',
        b"[] []",
        b'["\\"]',
        b"[[1]",
        b'[{"a": "]"',
        b"[:]",
    ],
)
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(NotJson):
        items(text)


@pytest.mark.parametrize("text", [b"[", b"{1:2}", b'{"a"}', b'{"a" 1}', b'{"a":1,}', b'{"a":}'])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(NotJson):
        members(text)


def test_lists_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(Invalid, match="nested more than 64 deep"):
        items(b"[" * 10_000_000)
    scanner = Scanner(b"[[" + b"[]," * 1_000_000 + b"[]]]", never)
    with pytest.raises(Invalid, match="too many lists"):
        items(scanner.text)
    with pytest.raises(Invalid, match=r"more than 1,006 values; a row of this model has 3"):
        check_row(b"[" + b"1," * 1_000_000 + b"1]", 3)


@pytest.mark.parametrize(
    "row", [[1], [[1, 2], [3, 4]] * 50, {f"feature {n}": 1.5 for n in range(99)}]
)
def test_rows_are_not(row: object) -> None:
    rows = [row] * 20_000
    assert items(json.dumps(rows, separators=(",", ":")).encode()) == rows


def test_a_string_may_be_longer_than_a_chunk_and_end_with_escapes() -> None:
    text = "\\" * CHUNK_BYTES + '"' * CHUNK_BYTES + "]" * CHUNK_BYTES
    assert items(json.dumps([text, 1]).encode()) == [text, 1]


def test_the_check_is_called_in_the_middle_of_a_value() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        Scanner(b"[" + b"1," * CHUNK_BYTES + b"1]", stop).value()


def test_groups_are_of_limited_size_and_leave_nothing_out() -> None:
    spans = [(n * 10_000, n * 10_000 + 9_999) for n in range(50)]
    grouped = list(groups(spans))
    assert [span for group in grouped for span in group] == spans
    assert all(group[-1][1] - group[0][0] <= CHUNK_BYTES for group in grouped)
    assert len(grouped) < len(spans) / 4


def test_numbers_that_only_some_parsers_read() -> None:
    assert parsed(b"1e400") == float("inf")
    assert parsed(b"NaN") != parsed(b"NaN")
    assert parsed(b"123456789012345678901234567890") == 123456789012345678901234567890.0
    with pytest.raises(NotJson):
        parsed(b'"\\ud800"')
