"""Names of a zip's members, as tools of several systems write them."""

import struct
import zlib
from unicodedata import normalize
from zipfile import ZipInfo

import pytest

from ml.errors import Invalid
from ml.ingest.zips.member_names import MemberNames, member_names


def names_of(*raw: bytes, flags: int = 0, encoding: str | None = None) -> MemberNames:
    """Return the names of members whose names are stored as these bytes."""
    members = [ZipInfo(name.decode("utf-8" if flags else "cp437")) for name in raw]
    for member in members:
        member.flag_bits = flags
    return member_names(members, encoding)


def found(text: str, codec: str) -> tuple[list[str], str | None]:
    raw = [f"{word}/1.png".encode(codec) for word in text.split()]
    names = names_of(*raw)
    return [name.removesuffix("/1.png") for name in names.names], names.guessed


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        *(
            (text, "cp437")
            for text in ("café", "été", "école", "Äpfel Öl", "größe", "niño", "maïs")
        ),
        *((text, "cp850") for text in ("maçã limão", "Águia", "São")),
        *((text, "cp1252") for text in ("café", "für", "größe Äpfel", "maçã", "señal")),
        *((text, "cp866") for text in ("кошка собака", "Привет", "ёж")),
        *(
            (text, "cp932")
            for text in ("猫 犬", "りんご", "リンゴ バナナ", "表示", "能力 ソース", "鳥")
        ),
        *((text, "gb18030") for text in ("猫 狗", "苹果", "汽车 飞机", "测试", "鹌鹑", "dog狗")),
    ],
)
def test_names_in_the_code_page_of_a_language(text: str, codec: str) -> None:
    assert found(text, codec) == (text.split(), codec)


@pytest.mark.parametrize("text", ["café", "猫 犬", "кошка"])
def test_utf8_without_its_flag(text: str) -> None:
    assert found(text, "utf-8") == (text.split(), None)


def test_names_of_macos_are_composed() -> None:
    apart = normalize("NFD", "é/1.png")
    assert names_of(apart.encode()).names == names_of("é/1.png".encode()).names == ["é/1.png"]
    assert names_of(apart.encode(), flags=0x800).names == ["é/1.png"]


def test_backslashes_are_separators_but_not_within_letters() -> None:
    assert names_of(b"a\\1.png").names == ["a/1.png"]
    names = names_of("表\\ソ.png".encode("cp932"), "猫\\1.png".encode("cp932"))
    assert names.names == ["表/ソ.png", "猫/1.png"]


def test_the_encoding_can_be_given() -> None:
    raw = "öL/1.png".encode("cp437")
    assert names_of(raw, encoding="shift_jis").names == ["猫/1.png"]
    with pytest.raises(Invalid, match="whose name is not in utf-8, the encoding given"):
        names_of(raw, encoding="utf-8")


def with_path(name: bytes, path: bytes, version: int = 1) -> ZipInfo:
    info = ZipInfo(name.decode("cp437"))
    body = struct.pack("<BI", version, zlib.crc32(name)) + path
    info.extra = (
        struct.pack("<HH", 0x5455, 1) + b"\0" + struct.pack("<HH", 0x7075, len(body)) + body
    )
    return info


def test_the_unicode_path_of_info_zip() -> None:
    assert member_names([with_path(b"?/1.png", "猫/1.png".encode())], None).names == ["猫/1.png"]
    outdated = with_path(b"?/1.png", "猫/1.png".encode())
    outdated.orig_filename = "b/1.png"
    damaged = with_path(b"a/1.png", b"\xff/1.png")
    later = with_path(b"c/1.png", b"x/1.png", version=2)
    assert member_names([outdated, damaged, later], None).names == ["b/1.png", "a/1.png", "c/1.png"]


def test_a_guess_has_an_example() -> None:
    names = names_of(b"a/1.png", "猫/1.png".encode("cp932"))
    assert (names.guessed, names.example) == ("cp932", "猫/1.png")
    assert names_of(b"a/1.png").guessed is None
