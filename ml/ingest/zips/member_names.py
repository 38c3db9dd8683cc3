"""The names of a zip file's members, decoded.

A member's name is in UTF-8 if a flag or an extra field says so. Else it should be in code page 437,
but tools write UTF-8 without the flag, and those of Windows write the code page of its language.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from struct import unpack_from
from typing import Final
from unicodedata import normalize
from zipfile import ZipInfo

from ml.errors import Invalid
from ml.ingest.names import shown

MAX_SCORED: Final = 2000
"""Folders and files whose names are looked at for a guess of their encoding."""

_UTF8_FLAG: Final = 0x800
_UNICODE_PATH: Final = 0x7075
"""Extra field of Info-ZIP with the name in UTF-8, valid if it has the checksum of the other."""

_COMMON, _USUAL, _LESS, _SELDOM, _RARE, _UNUSUAL, _ODD = 0.9, 1.0, 1.25, 1.5, 2.5, 3.0, 4.0
_MIXED: Final = 1.5
"""Cost of a letter of another script beside a Latin one: c猫t."""
_SHOUTED: Final = 2.0
"""Cost of a capital within a word of small letters, if it or the letter before it is accented: öL,
sÖn."""
_BESIDE_LATIN: Final = re.compile(r"(?<=[A-Za-z])[^\W\d_a-zA-Z]|[^\W\d_a-zA-Z](?=[A-Za-z])")


@dataclass(frozen=True)
class _Encoding:
    """An encoding, and how likely its characters are in names, as costs."""

    name: str
    is_latin: bool
    costs: tuple[tuple[int, int, float], ...]
    """First and last code of ranges, with the cost of their characters; the others are odd."""

    def cost(self, text: str) -> float:
        """Return how unlikely a name is."""
        total = sum(self._cost(char) for char in text if not char.isascii())
        if not self.is_latin:
            return total + _MIXED * len(_BESIDE_LATIN.findall(text))
        triples = zip(f" {text}", text, f"{text[1:]} ", strict=False)
        return total + _SHOUTED * sum(_is_shouted(*triple) for triple in triples)

    def _cost(self, char: str) -> float:
        code = int.from_bytes(char.encode(self.name), "big")
        return next((cost for low, high, cost in self.costs if low <= code <= high), _ODD)


def _is_shouted(before: str, one: str, after: str) -> bool:
    if not one.isupper() or (before + one).isascii():
        return False
    return before.islower() or (before.isalpha() and after.islower())


_OEM: Final = ((0x80, 0x9A, _USUAL), (0xA0, 0xA5, _USUAL), (0xE1, 0xE1, _USUAL))
"""Letters that the code pages 437 and 850 have in common."""

_GUESSED: Final = (
    _Encoding("cp437", True, _OEM),
    _Encoding(
        "cp850",
        True,
        (
            *_OEM,
            (0xB5, 0xB7, _SELDOM),
            (0xC6, 0xC7, _SELDOM),
            (0xD2, 0xD4, _SELDOM),
            (0xD6, 0xD8, _SELDOM),
            (0xDE, 0xDE, _SELDOM),
            (0xE0, 0xE5, _SELDOM),
            (0xE9, 0xED, _SELDOM),
        ),
    ),
    _Encoding("cp1252", True, ((0xC0, 0xD6, _LESS), (0xD8, 0xF6, _LESS), (0xF8, 0xFF, _LESS))),
    _Encoding("cp866", False, ((0x80, 0xAF, _USUAL), (0xE0, 0xF1, _USUAL))),
    _Encoding(
        "cp932",
        False,
        (
            (0x829F, 0x82F1, _COMMON),  # hiragana
            (0x8340, 0x8396, _COMMON),  # katakana
            (0x815B, 0x815B, _COMMON),  # its long vowel
            (0x889F, 0x9872, _COMMON),  # common kanji
            (0x824F, 0x829A, _RARE),  # wide Latin
            (0x9873, 0x9FFC, _UNUSUAL),
            (0xE040, 0xEAA4, _UNUSUAL),
            (0x8140, 0x81FC, _UNUSUAL),
            (0xA1, 0xDF, _UNUSUAL),  # narrow katakana
        ),
    ),
    _Encoding(
        "gb18030",
        False,
        # Second bytes from 0x40 are of the extension by rare characters.
        tuple((lead << 8 | 0xA1, lead << 8 | 0xFE, _COMMON) for lead in range(0xB0, 0xD8))
        + tuple((lead << 8 | 0xA1, lead << 8 | 0xFE, _RARE) for lead in range(0xD8, 0xF8))
        + tuple((lead << 8 | 0xA1, lead << 8 | 0xFE, _UNUSUAL) for lead in range(0xA1, 0xA4)),
    ),
)
"""Encodings in order of preference."""

_CODECS: Final = {"windows-1252": "cp1252", "shift_jis": "cp932"}
"""Supersets of encodings by the names that options give them."""


@dataclass(frozen=True)
class MemberNames:
    """The names of all members, in NFC and with slashes."""

    names: list[str]
    guessed: str | None
    """Encoding that was guessed, unless UTF-8."""
    example: str = ""
    """A name in that encoding."""


def member_names(members: Sequence[ZipInfo], encoding: str | None) -> MemberNames:
    """Decode the names of `members`. Those without a mark are in `encoding` if given, in UTF-8 if
    all of them can be, else in the likeliest of some encodings.

    Raises:
        Invalid: a name is not in `encoding`.
    """
    raw = {place: name for place, info in enumerate(members) if (name := _unmarked(info))}
    if encoding is not None:
        used = _CODECS.get(encoding, encoding)
        decoded = {place: _decoded(name, used, encoding) for place, name in raw.items()}
    else:
        used, decoded = _guessed(raw)
    names = [
        _form(decoded[place] if place in decoded else _marked(info))
        for place, info in enumerate(members)
    ]
    is_guess = bool(decoded) and encoding is None and used != "utf-8"
    example = names[next(iter(decoded))] if is_guess else ""
    return MemberNames(names, used if is_guess else None, example)


def _form(name: str) -> str:
    return normalize("NFC", name.replace("\\", "/"))


def _unmarked(info: ZipInfo) -> bytes:
    """Return a name as stored if it is not ASCII and its encoding is not known, else b""."""
    if info.orig_filename.isascii() or info.flag_bits & _UTF8_FLAG or _unicode_path(info):
        return b""
    return info.orig_filename.partition("\0")[0].encode("cp437")


def _marked(info: ZipInfo) -> str:
    return _unicode_path(info) or info.orig_filename.partition("\0")[0]


def _unicode_path(info: ZipInfo) -> str | None:
    if info.flag_bits & _UTF8_FLAG:
        return None
    extra = info.extra
    position = 0
    while position + 4 <= len(extra):
        kind, size = unpack_from("<HH", extra, position)
        body = extra[position + 4 : position + 4 + size]
        position += 4 + size
        if kind != _UNICODE_PATH or len(body) < 5 or body[0] != 1:
            continue
        if unpack_from("<I", body, 1)[0] != zlib.crc32(info.orig_filename.encode("cp437")):
            continue
        try:
            return body[5:].decode()
        except UnicodeDecodeError:
            continue
    return None


def _decoded(name: bytes, codec: str, encoding: str) -> str:
    try:
        return name.decode(codec)
    except UnicodeDecodeError:
        raise Invalid(
            f"has a member {shown(name.decode('cp437'))} whose name is not in {encoding}, the "
            "encoding given; leave encoding out, or give another"
        ) from None


def _guessed(raw: Mapping[int, bytes]) -> tuple[str, dict[int, str]]:
    """Return the likeliest encoding of some names, and the names decoded."""
    if (decoded := _all_decoded(raw, "utf-8")) is not None:
        return "utf-8", decoded
    words = list(islice(_words(raw.values()), MAX_SCORED))
    found: dict[str, dict[int, str]] = {}
    costs: dict[str, float] = {}
    for encoding in _GUESSED:
        if (decoded := _all_decoded(raw, encoding.name)) is not None:
            found[encoding.name] = decoded
            costs[encoding.name] = sum(encoding.cost(word.decode(encoding.name)) for word in words)
    # The code page 437 has a character for every byte; of equal costs, the first is the least.
    best = min(costs, key=costs.__getitem__)
    return best, found[best]


def _words(names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield each folder and file that is not ASCII once. No encoding has a slash within a letter,
    but some have a backslash."""
    seen: set[bytes] = set()
    for name in names:
        for word in name.split(b"/"):
            if not word.isascii() and word not in seen:
                seen.add(word)
                yield word


def _all_decoded(raw: Mapping[int, bytes], codec: str) -> dict[int, str] | None:
    try:
        return {place: name.decode(codec) for place, name in raw.items()}
    except UnicodeDecodeError:
        return None
