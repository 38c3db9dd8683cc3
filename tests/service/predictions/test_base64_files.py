"""Files in base64, decoded in pieces."""

import base64
import random

import pytest

from service.errors import Unprocessable
from service.predictions.base64_files import decode_base64

FILE = random.Random(0).randbytes(1000)
PREFIX = "data:image/png;base64,"


def pieces(text: str, size: int) -> list[str]:
    return [text[place : place + size] for place in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 64, 2000])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 998, 999, 1000])
def test_pieces_give_the_file(length: int, size: int) -> None:
    text = base64.b64encode(FILE[:length]).decode()
    assert decode_base64(pieces(text, size), ()) == FILE[:length]


@pytest.mark.parametrize("size", [22, 30, 2000])
def test_the_prefix_of_a_data_url_is_skipped(size: int) -> None:
    text = base64.b64encode(FILE).decode()
    assert decode_base64(pieces(PREFIX + text, size), ()) == FILE


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 2000])
@pytest.mark.parametrize(
    "text",
    ["A", "AA", "AAA", "AA=", "AA==AA==", "AAA=A", "A A=", "AA-_", "é", "AAAA\n", "=", "\ud800"],
)
def test_other_texts_are_refused(text: str, size: int) -> None:
    with pytest.raises(Unprocessable, match=r"images\.3: is not valid base64: "):
        decode_base64(pieces(text, size), ("images", 3))
