import ast
import io
import struct

import numpy as np
import pytest

from service.errors import Unprocessable
from service.predictions.npy import parse_npy


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """A `.npy` file with any header."""
    text = header.encode("latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def array_header(shape: object = (3,), dtype: object = "<f4", fortran: object = False) -> str:
    return f"{{'descr': {dtype!r}, 'fortran_order': {fortran!r}, 'shape': {shape}}}"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read(version: tuple[int, int], order: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4), order=order)  # type: ignore[call-overload]
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    assert np.array_equal(parse_npy(file.getvalue()), array)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        "(" * 9000,
        "-" * 9000 + "1",
        "{1: " * 90 + "1" + "}" * 90,
        "'\\ud800'",
        "1" * 9000,
        "{'descr': '<f4', 'fortran_order': False}",
        array_header(shape=(True,)),
        array_header(shape=(-1,)),
        array_header(shape=(-1, -3)),
        array_header(shape=[3]),
        array_header(shape=3),
        array_header(shape=(3.0,)),
        array_header(shape="(1e999,)"),
        array_header(shape=(10**30,)),
        array_header(shape=(2**63, 0)),
        array_header(shape=(1,) * 65),
        array_header(dtype="O"),
        array_header(dtype="<f4,<f4"),
        array_header(dtype="(1000000000,)f4"),
        array_header(dtype="nonsense"),
        array_header(dtype="<U0"),
        array_header(dtype=[("a", "<f4")]),
        array_header(dtype=None),
        array_header(fortran=1),
    ],
)
@pytest.mark.parametrize("data", [b"", bytes(12)])
def test_damaged_headers_are_refused(header: str, data: bytes) -> None:
    with pytest.raises(Unprocessable, match="body: is not a valid"):
        parse_npy(npy(header, data))


def test_headers_of_other_writers_are_read() -> None:
    data = np.arange(3, dtype="<f4").tobytes()
    for header in (
        '{"shape": (3L,), "fortran_order": True, "descr": "<f4"}   \n',
        "{'shape':(3,),'descr':'float32','fortran_order':False,}",
    ):
        assert parse_npy(npy(header, data)).tolist() == [0, 1, 2]


def test_damaged_headers_leave_the_parser_as_it_was() -> None:
    for depth in (90, 500, 3000, 9000):
        for deep in ("-" * depth + "1", "(" * depth, "[" * depth + "]" * depth, "{1:" * depth):
            with pytest.raises(Unprocessable):
                parse_npy(npy(deep))
    assert parse_npy(npy(array_header(), bytes(12))).shape == (3,)
    assert ast.literal_eval("[1, -2]") == [1, -2]


def test_any_cut_or_flipped_file_is_read_or_refused() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6, dtype=np.float32).reshape(2, 3))
    whole = file.getvalue()
    random = np.random.default_rng(0)
    files = [whole[:end] for end in range(len(whole))]
    for _ in range(1000):
        changed = bytearray(whole)
        for position in random.integers(0, len(whole), random.integers(1, 4)):
            changed[position] = random.integers(256)
        files.append(bytes(changed))
    refused = 0
    for file_bytes in files:
        try:
            assert parse_npy(file_bytes).nbytes <= len(whole)
        except Unprocessable:
            refused += 1
    assert refused > len(whole)
