"""Reading untrusted zip files of images."""

import io
import random
import stat
import struct
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml.datasets import uploaded_images
from ml.datasets.uploaded_images import ImageView
from ml.errors import Invalid
from ml.ingest import zip_safety
from ml.ingest.preview import preview
from ml.ingest.schema import IMAGES, LABELS, ImageSchema
from tests.ml.images.drawings import encoded
from tests.ml.ingest.archives import zipped
from tests.ml.ingest.reading import read_images


def png(size: tuple[int, int] = (6, 5), mode: str = "L", color: Any = 7) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def kinds(schema: ImageSchema) -> dict[str, str]:
    """Return the messages of a schema's warnings by kind."""
    return {warning.kind: warning.message for warning in schema.warnings}


def test_folders_become_classes(tmp_path: Path) -> None:
    members = {
        "photos/": b"",
        "photos/dogs/1.png": png(color=9),
        "photos/cats/a.png": png(color=5),
        "photos/cats/b.PNG": png(color=6),
        "__MACOSX/photos/cats/._a.png": b"junk",
        "photos/.DS_Store": b"junk",
    }
    schema = read_images(tmp_path, zipped(members))
    assert schema.model_dump(exclude={"warnings"}) == {
        "kind": "images",
        "rows": 3,
        "height": 5,
        "width": 6,
        "channels": 1,
        "classes": [{"name": "cats", "count": 2}, {"name": "dogs", "count": 1}],
        "splits": None,
        "bit_depth": 16,
    }
    [warning] = schema.warnings
    assert warning.kind == "skipped_files"
    assert warning.message == (
        "2 hidden files ('__MACOSX/photos/cats/._a.png', 'photos/.DS_Store') were skipped"
    )
    images = np.load(tmp_path / "into" / IMAGES)
    labels = np.load(tmp_path / "into" / LABELS)
    assert images.shape == (3, 5, 6)
    assert sorted(zip(labels.tolist(), images[:, 0, 0].tolist(), strict=True)) == [
        (0, 5),
        (0, 6),
        (1, 9),
    ]
    [first, *_] = preview(schema, tmp_path / "into", 2)
    assert str(first[1]).startswith("data:image/png;base64,")


def test_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    members = {"a/1.png": png(color=40), "b/1.png": png(mode="RGB", color=(1, 2, 3))}
    assert read_images(tmp_path, zipped(members)).channels == 3
    images = np.load(tmp_path / "into" / IMAGES)
    assert images.shape == (2, 3, 5, 6)
    assert images[:, :, 0, 0].tolist() == [[40, 40, 40], [1, 2, 3]]


def test_images_can_be_resized(tmp_path: Path) -> None:
    members = {"a/1.png": png((6, 5)), "b/1.png": png((60, 50))}
    schema = read_images(tmp_path, zipped(members), image_size=[8, 10])
    assert (schema.height, schema.width) == (8, 10)
    assert np.load(tmp_path / "into" / IMAGES).shape == (2, 8, 10)


def bomb(side: int) -> bytes:
    """A PNG file of a few hundred bytes that declares `side` pixels per side."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(bytes(1000))),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


NOISE = random.Random(0).randbytes(53_000_000)
LINK = {"b/1.png": {"external_attr": (stat.S_IFLNK | 0o777) << 16}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"../a/1.png": png(), "b/1.png": png()}), r"a member '\.\./a/1.png'"),
        (zipped({"/a/1.png": png(), "b/1.png": png()}), "a member '/a/1.png'"),
        (zipped({"a\\..\\1.png": png(), "b/1.png": png()}), "a path outside the archive"),
        (zipped({"\\\\host\\a\\1.png": png(), "b/1.png": png()}), "a path outside the archive"),
        (zipped({"a/.. /1.png": png(), "b/1.png": png()}), "a path outside the archive"),
        (zipped({"C:/1.png": png(), "b/1.png": png()}), "a path outside the archive"),
        (zipped({"c:\\a\\1.png": png(), "b/1.png": png()}), "a path outside the archive"),
        (zipped({"a/1.png": png(), "b/1.png": b"/etc/passwd"}, **LINK), "a link, 'b/1.png'"),
        (zipped({"a/1.png": bomb(50_000), "b/1.png": png()}), "'a/1.png': the image is too large"),
        (zipped({"a/1.png": bytes(60_000_000), "b/1.png": png()}), "over 100 times as many"),
        (zipped({"a/1.png": NOISE, "b/1.png": png()}), "over 52,428,800 bytes"),
        (zipped({"a/1.png": zipped({"c/1.png": png()}), "b/1.png": png()}), "'a/1.png': not a PNG"),
        (zipped({"a/1.png": png(), "more.zip": zipped({})}), "an archive within it, 'more.zip'"),
        (zipped({"a/1.png": png(), "b.tar.gz": b"x"}), r"an archive within it, 'b\.tar\.gz'"),
        (
            zipped({"a/1.png": png(), "b/1": zipped({"1.png": png()})}),
            "an archive within it, 'b/1'",
        ),
        (zipped({"a/1.png": png()[:-30], "b/1.png": png()}), "'a/1.png': the image is truncated"),
        (zipped({"a/1.png": b"", "b/1.png": png()}), "'a/1.png': the image file is empty"),
        (zipped({"a/1.jpg": b"<html>", "b/1.png": png()}), "'a/1.jpg': not a PNG, JPEG, GIF, WebP"),
        (zipped({"a/1.heic": b"x", "b/1.png": png()}), "'a/1.heic': not a PNG"),
        (zipped({"1.png": png(), "2.png": png()}), "images in no folder"),
        (zipped({"x/a/1.png": png(), "y/b/1.png": png()}), "'x/a' and 'y/b', so that the classes"),
        (zipped({"a/1.png": png(), "a/2.png": png()}), "images of one class, 'a'"),
        (zipped({"a/1.png": png((6, 5)), "b/1.png": png((7, 5))}), "set image_size"),
        (zipped({"[Content_Types].xml": b"", "xl/a.xml": b""}), "is an Office document"),
        (zipped({f"a/{i}.png": bytes(9_000_000) for i in range(9)}), "over 100 times as many"),
        (
            zipped({"a/1.bmp": bytes(9_000_000)} | {f"a/{i}.png": bytes(9_000_000) for i in "123"}),
            "over 100 times as many",
        ),
        (png(), "is a single image"),
        (encoded(Image.new("RGB", (6, 5)), "BMP"), "is a single image"),
        (zipped({}), "no images and no table"),
        (zipped({"__MACOSX/x": b"junk"}), "no images and no table"),
        (zipped({"a/1.png": png(), "b/1.png": png()})[:-40], "truncated or corrupt"),
        (
            zipped({f"{split}/{name}/1.png": png() for split in ("val", "test") for name in "ab"}),
            "no training images",
        ),
    ],
)
def test_invalid_archives_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read_images(tmp_path, content)


def test_pixel_limit_is_checked_before_writing(tmp_path: Path) -> None:
    members = {f"{c}/{i}.png": png() for c in "ab" for i in range(20)}
    with pytest.raises(Invalid, match="set a smaller image_size"):
        read_images(tmp_path, zipped(members), image_size=[2000, 2000])


def test_pixel_statistics_cover_all_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The images of one class come before those of the other.
    members = {
        f"{color:03}/{i}.png": png((8, 8), color=color) for color in (0, 255) for i in range(20)
    }
    view = ImageView.of(read_images(tmp_path, zipped(members)))
    monkeypatch.setattr(uploaded_images, "MEASURED", 10 * 64)
    layer = view.fit(view.load(tmp_path / "into").rows, {}).preprocessing
    assert layer.get_buffer("mean").item() == pytest.approx(0.5)


STRAYS = {
    "README": b"Cats and dogs",
    "LICENSE": b"",
    "labels.csv": b"file,label\n",
    "preview.png": png(),
    "cats/notes.txt": b"hello",
    "cats/.gitkeep": b"",
    "cats/._1.png": b"junk",
    "dogs/Thumbs.db": b"junk",
    "dogs/desktop.ini": b"junk",
}


def test_strays_are_skipped_and_listed(tmp_path: Path) -> None:
    members = {"cats/1.png": png(), "dogs/2": png(), **STRAYS}
    schema = read_images(tmp_path, zipped(members))
    assert schema.rows == 2
    assert kinds(schema) == {
        "skipped_files": "1 image outside the folders of classes ('preview.png'), 4 files of "
        "other types ('README', 'LICENSE', 'labels.csv', ...) and 4 hidden files "
        "('cats/.gitkeep', 'cats/._1.png', 'dogs/Thumbs.db', ...) were skipped"
    }


def test_folders_of_splits_are_kept(tmp_path: Path) -> None:
    colors = {"Test": 1, "training": 2, "valid": 3}
    members = {
        f"data\\{split}\\{name}\\{i}.png": png(color=color)
        for split, color in colors.items()
        for name in ("a:b", "c")
        for i in range(color)
    }
    schema = read_images(tmp_path, zipped(members))
    assert schema.splits == {"train": 4, "validation": 6, "test": 2}
    assert [one.name for one in schema.classes] == ["a:b", "c"]
    assert kinds(schema) == {
        "split": "the folders of the zip divide the images: 4 train, 6 validation, 2 test"
    }
    table = ImageView.of(schema).load(tmp_path / "into")
    assert table.validation is not None
    assert table.test is not None
    for rows, color, count in ((table.rows, 2, 4), (table.validation, 3, 6), (table.test, 1, 2)):
        assert rows.inputs.unique().tolist() == [color]
        assert rows.targets.tolist() == [0] * (count // 2) + [1] * (count // 2)


def test_classes_of_one_name_in_two_spellings(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    members = {f"{name}/{i}.png": png() for i, name in enumerate((*names, "b", "b ", "B"))}
    schema = read_images(tmp_path, zipped(members))
    assert [(one.name, one.count) for one in schema.classes] == [("B", 1), ("b", 2), ("é", 2)]
    messages = [warning.message for warning in schema.warnings]
    assert messages[0].startswith("the folders 'b ' are read as the class 'b'")
    assert messages[1].startswith("the classes 'B' and 'b' differ only by case, and are two")


def test_classes_may_be_called_as_parts_of_documents(tmp_path: Path) -> None:
    schema = read_images(
        tmp_path, zipped({f"{name}/1.png": png() for name in ("xl", "word", "ppt")})
    )
    assert [one.name for one in schema.classes] == ["ppt", "word", "xl"]


def test_names_in_the_code_page_of_a_language(tmp_path: Path) -> None:
    content = zipped({"AA/1.png": png(), "BB/1.png": png()})
    content = content.replace(b"AA/", "犬/".encode("cp932")).replace(b"BB/", "猫/".encode("cp932"))
    schema = read_images(tmp_path, content)
    assert [one.name for one in schema.classes] == ["犬", "猫"]
    assert "were read as cp932, for example '犬/1.png'" in kinds(schema)["encoding"]


def test_every_format_is_read(tmp_path: Path) -> None:
    page = Image.new("L", (6, 5), 100)
    members = {
        f"{name}/{kind}.{kind.lower()}": file
        for name in "ab"
        for kind in ("PNG", "GIF", "BMP", "TIFF")
        if (file := encoded(page, kind))
    }
    assert read_images(tmp_path, zipped(members)).channels == 1
    assert np.unique(np.load(tmp_path / "into" / IMAGES)).tolist() == [100]


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    film = encoded(
        Image.new("RGB", (6, 5), "red"),
        "GIF",
        save_all=True,
        append_images=[Image.new("RGB", (6, 5), "blue")],
    )
    schema = read_images(tmp_path, zipped({"a/1.gif": film, "b/1.png": png()}))
    assert kinds(schema) == {
        "first_frame": "1 image has several frames or pages, of which the first was read: 'a/1.gif'"
    }
    assert np.load(tmp_path / "into" / IMAGES)[0, :, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("top", "given", "bits", "white"),
    [(4095, None, 12, 255), (1000, None, 10, 249), (65535, None, 16, 255), (4095, 16, 16, 16)],
)
def test_sixteen_bit_images_are_stretched_together(
    tmp_path: Path, top: int, given: int | None, bits: int, white: int
) -> None:
    members = {
        f"{name}/1.png": encoded(Image.new("I;16", (6, 5), value))
        for name, value in (("dark", top // 8), ("light", top))
    }
    schema = read_images(
        tmp_path, zipped({**members, "light/2.png": png(color=7)}), bit_depth=given
    )
    assert schema.bit_depth == bits
    images = np.load(tmp_path / "into" / IMAGES)[:, 0, 0].tolist()
    assert images[1:] == [white, 7]
    assert images[0] == pytest.approx(white / 8, abs=1)
    form = ImageView.of(schema).form
    assert form.decode(form.header(members["light/1.png"], max_pixels=100))[0, 0] == white
    assert ("sixteen_bit" in kinds(schema)) == (given is None)


def test_drawings_without_compression_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_safety, "SMALL_BYTES", 0)
    page = encoded(Image.new("RGB", (200, 200), "white"), "BMP")
    content = zipped({f"{name}/{i}.bmp": page for name in "ab" for i in range(5)})
    assert 10 * len(page) > 100 * len(content)
    assert read_images(tmp_path, content, image_size=[8, 8]).rows == 10


def test_other_methods_of_packing_are_refused_in_words(tmp_path: Path) -> None:
    content = bytearray(zipped({"a/1.png": png(), "b/1.png": png()}))
    content[content.index(b"PK\x01\x02") + 10] = 9
    with pytest.raises(Invalid, match=r"packed by method 9 .* pack it with Deflate"):
        read_images(tmp_path, bytes(content))


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a/1.png": png(), "b/1.png": png()}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(Invalid, match=r"is encrypted \('a/1.png'\); send it without a password"):
        read_images(tmp_path, bytes(content))
