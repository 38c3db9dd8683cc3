"""Reading untrusted zip files of images."""

import io
import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml.datasets import uploaded_images
from ml.datasets.uploaded_images import ImageView
from ml.errors import Invalid
from ml.ingest import Options, ingest
from ml.ingest.preview import preview
from ml.ingest.schema import IMAGES, LABELS, ImageSchema


def png(size: tuple[int, int] = (6, 5), mode: str = "L", color: Any = 7) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def zipped(members: dict[str, bytes], **changes: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in changes.get(name, {}).items():
                setattr(info, field, value)
            archive.writestr(info, data)
    return file.getvalue()


def read(tmp_path: Path, content: bytes, **options: Any) -> ImageSchema:
    source, into = tmp_path / "source", tmp_path / "into"
    source.write_bytes(content)
    into.mkdir()
    try:
        schema = ingest(source, into, Options(**options))
    except Invalid:
        assert list(into.iterdir()) == []
        raise
    assert isinstance(schema, ImageSchema)
    return schema


def test_folders_become_classes(tmp_path: Path) -> None:
    members = {
        "photos/": b"",
        "photos/dogs/1.png": png(color=9),
        "photos/cats/a.png": png(color=5),
        "photos/cats/b.PNG": png(color=6),
        "__MACOSX/photos/cats/._a.png": b"junk",
        "photos/.DS_Store": b"junk",
    }
    schema = read(tmp_path, zipped(members))
    assert schema.model_dump() == {
        "kind": "images",
        "rows": 3,
        "height": 5,
        "width": 6,
        "channels": 1,
        "classes": [{"name": "cats", "count": 2}, {"name": "dogs", "count": 1}],
    }
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
    assert read(tmp_path, zipped(members)).channels == 3
    images = np.load(tmp_path / "into" / IMAGES)
    assert images.shape == (2, 3, 5, 6)
    assert images[:, :, 0, 0].tolist() == [[40, 40, 40], [1, 2, 3]]


def test_images_can_be_resized(tmp_path: Path) -> None:
    members = {"a/1.png": png((6, 5)), "b/1.png": png((60, 50))}
    schema = read(tmp_path, zipped(members), image_size=[8, 10])
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
        (zipped({"C:/1.png": png(), "b/1.png": png()}), "a path outside the archive"),
        (zipped({"a/1.png": png(), "b/1.png": b"/etc/passwd"}, **LINK), "a link, 'b/1.png'"),
        (zipped({"a/1.png": bomb(50_000), "b/1.png": png()}), "'a/1.png': the image is too large"),
        (zipped({"a/1.png": bytes(60_000_000), "b/1.png": png()}), "over 100 times as many"),
        (zipped({"a/1.png": NOISE, "b/1.png": png()}), "over 52,428,800 bytes"),
        (zipped({"a/1.png": zipped({"c/1.png": png()}), "b/1.png": png()}), "not a PNG or JPEG"),
        (zipped({"a/1.png": png()[:-30], "b/1.png": png()}), "'a/1.png': the image is truncated"),
        (zipped({"a/1.png": b"", "b/1.png": png()}), "'a/1.png': the image file is empty"),
        (zipped({"a/notes.txt": b"hello", "b/1.png": png()}), "'a/notes.txt': not a PNG or JPEG"),
        (zipped({"1.png": png(), "b/1.png": png()}), "'1.png' is not in the folder of a cl"),
        (zipped({"x/a/1.png": png(), "y/b/1.png": png()}), "is not in the folder"),
        (zipped({"a/1.png": png(), "a/2.png": png()}), "images of one class, 'a'"),
        (zipped({"a/1.png": png((6, 5)), "b/1.png": png((7, 5))}), "set image_size"),
        (zipped({"[Content_Types].xml": b"", "xl/a.xml": b""}), "is an Office document"),
        (zipped({f"a/{i}.png": bytes(9_000_000) for i in range(9)}), "over 100 times as many"),
        (png(), "is a single image"),
        (zipped({}), "no images"),
        (zipped({"__MACOSX/x": b"junk"}), "no images"),
        (zipped({"a/1.png": png(), "b/1.png": png()})[:-40], "truncated or corrupt"),
    ],
)
def test_invalid_archives_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read(tmp_path, content)


def test_pixel_limit_is_checked_before_writing(tmp_path: Path) -> None:
    members = {f"{c}/{i}.png": png() for c in "ab" for i in range(20)}
    with pytest.raises(Invalid, match="set a smaller image_size"):
        read(tmp_path, zipped(members), image_size=[2000, 2000])


def test_pixel_statistics_cover_all_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The images of one class come before those of the other.
    members = {
        f"{color:03}/{i}.png": png((8, 8), color=color) for color in (0, 255) for i in range(20)
    }
    view = ImageView.of(read(tmp_path, zipped(members)))
    monkeypatch.setattr(uploaded_images, "MEASURED", 10 * 64)
    layer = view.fit(view.load(tmp_path / "into").rows, {}).preprocessing
    assert layer.get_buffer("mean").item() == pytest.approx(0.5)
