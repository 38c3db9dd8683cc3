"""Large JSON, taken apart without being parsed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import Invalid
from ml.inputs.json_slices import (
    CHUNK_BYTES,
    NotJson,
    Scanner,
    check_row,
    groups,
    parsed,
    skip_space,
    string_pieces,
)

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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * (2 * CHUNK_BYTES),
        "é" * 10,
        *("a" * (CHUNK_BYTES - n) + "\x00/" + "b" * CHUNK_BYTES for n in range(9)),
        *("a" * (CHUNK_BYTES - n) + "\\" * 5 + '"' for n in range(9)),
    ],
)
def test_pieces_of_a_string_make_the_string(text: str) -> None:
    body = b'["' + json.dumps(text).encode().replace(b"/", b"\\/")[1:-1] + b'"]'
    pieces = list(string_pieces(body, 1, len(body) - 1))
    assert "".join(pieces) == text
    assert max(map(len, pieces), default=0) <= CHUNK_BYTES


@pytest.mark.parametrize("escape", [b"\\u12", b"\\x", b"\\u12g4", b"\x01", b"\xff"])
def test_malformed_strings_are_refused(escape: bytes) -> None:
    for before in (0, CHUNK_BYTES - 2):
        body = b'"' + b"a" * before + escape + b'"'
        with pytest.raises(NotJson):
            list(string_pieces(body, 0, len(body)))


@pytest.mark.parametrize("count", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 10**6])
def test_white_space_is_skipped_in_parts(count: int) -> None:
    assert skip_space(b"a" + b" \t\r\n" * count, 1) == 1 + 4 * count
    assert skip_space(b" " * count + b"a ", 0) == count
    assert items(b" " * count + b"[1" + b"\n" * count + b",2]" + b" " * count) == [1, 2]


def test_bytes_of_a_row_and_of_a_name_are_bounded() -> None:
    row = json.dumps([0.12345678901234567] * 50_000, indent=20).encode()
    check_row(row, 50_000)
    with pytest.raises(Invalid, match=r"has 2,000,004 bytes; a row of this model has at most 1,04"):
        check_row(b'["%b"]' % (b"a" * 2_000_000), 3)
    with pytest.raises(Invalid, match="has a name of 2,000,002 bytes, at byte 1"):
        members(b'{"%b":1}' % (b"a" * 2_000_000))
