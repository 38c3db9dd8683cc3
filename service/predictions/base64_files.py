"""Files that a request has as texts in base64."""

import base64
from collections.abc import Iterable, Iterator

from ml.errors import Invalid, Loc
from service.errors import Unprocessable

QUANTUM = 4
"""Characters that stand for three bytes."""


def decode_base64(pieces: Iterable[str], place: Loc) -> bytes:
    """Return the bytes of a base64 string at `place` in the request, which comes in pieces.

    Raises:
        Unprocessable: it is not base64.
    """
    try:
        return b"".join(_decoded(pieces))
    except ValueError as error:  # `binascii.Error`, or non-ASCII characters
        raise Unprocessable.at(Invalid(f"is not valid base64: {error}"), *place) from None


def _decoded(pieces: Iterable[str]) -> Iterator[bytes]:
    rest, is_padded = "", False
    for number, piece in enumerate(pieces):
        # An HTML canvas yields "data:image/png;base64,..."
        text = rest + (piece if number else piece.rpartition(",")[2])
        if is_padded and text:
            raise ValueError("there is more after the padding")
        end = len(text) - len(text) % QUANTUM
        whole, rest = text[:end], text[end:]
        is_padded = whole.endswith("=")
        yield base64.b64decode(whole, validate=True)
    yield base64.b64decode(rest, validate=True)
