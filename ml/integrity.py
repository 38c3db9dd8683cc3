"""Checksums of stored files, checked before a file is used.

A directory that epochd has written holds a list of its files with their sizes and SHA-256. The list
is written last, so a directory with a list is complete. Directories of earlier versions have none.
"""

import errno
import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from ml.errors import Damaged
from ml.files import sync, write
from ml.strict import Frozen

CHECKSUMS = "checksums.json"
MAX_REMEMBERED = 10_000
RECHECK_SECONDS = 60.0
"""Seconds after which a damaged file is read again though it has not changed."""

_NOT_OF_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors of the process or the machine, which say nothing about the file."""

T = TypeVar("T")


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError(f"{name!r} is not the path of a file in the directory")
    return name


class Checksum(Frozen):
    """Size and SHA-256 of a file."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Checksums(Frozen):
    """The files of a directory, by path relative to it."""

    format: Literal[1] = 1
    files: dict[Annotated[str, AfterValidator(_inside)], Checksum]


class Identity(NamedTuple):
    """Properties of a file that change when its content is replaced or written to."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        """Return the identity of the file with this status."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def identity(path: Path) -> Identity | None:
    """Return the identity of a file, or None if it cannot be found."""
    try:
        return Identity.of(path.stat())
    except OSError:
        return None


def seal(directory: Path) -> None:
    """Write the checksums of all files in `directory`, durably, as the last step of saving it."""
    files = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != CHECKSUMS:
            with path.open("rb") as file:
                files[name] = Checksum(size=path.stat().st_size, sha256=_digest(file))
    write(directory / CHECKSUMS, Checksums(files=files).model_dump_json(indent=1).encode())
    sync(directory)


def is_sealed(directory: Path) -> bool:
    """Return whether `directory` has checksums; one that an earlier version wrote has none."""
    return os.path.lexists(directory / CHECKSUMS)


def holds(directory: Path, name: str) -> bool:
    """Return whether the file `name` belongs to `directory`, damaged or not."""
    return name in _listed(directory) if is_sealed(directory) else (directory / name).exists()


def check(directory: Path, again: bool = True) -> None:
    """Check every file of a sealed directory; unless `again`, see `checked`.

    Raises:
        Damaged: a file, or the list of checksums, is missing or is not as it was written. This
            applies to all functions below.
    """
    for name, checksum in _listed(directory).items():
        _check(directory / name, checksum.size, checksum.sha256, again)


def faults(directory: Path) -> Iterator[Damaged]:
    """Yield every fault of a sealed directory, not only the first."""
    try:
        checksums = _listed(directory)
    except Damaged as damaged:
        yield damaged
        return
    for name, checksum in checksums.items():
        try:
            _check(directory / name, checksum.size, checksum.sha256, again=True)
        except Damaged as damaged:
            yield damaged


def read_file(directory: Path, name: str, sha256: str | None = None) -> bytes:
    """Return the content of a file, checked if `directory` is sealed or if `sha256` is known."""
    path, checksum = directory / name, _checksum(directory, name)
    with _opened(path) as (file, identity):
        if checksum:
            _compare(path, "bytes", identity.size, checksum.size)
        data = file.read()
    if expected := checksum.sha256 if checksum else sha256:
        _compare(path, "the SHA-256", hashlib.sha256(data).hexdigest(), expected)
    return data


def checked(directory: Path, name: str, sha256: str | None = None, again: bool = False) -> Path:
    """Return the path of a file that is too large for `read_file`, checked if `directory` is sealed
    or if `sha256` is known.

    Unless `again`, a file that this process has found intact is not read again until it changes. A
    file found damaged is not read again until it changes or `RECHECK_SECONDS` have passed.
    """
    path, checksum = directory / name, _checksum(directory, name)
    if checksum and sha256:
        _compare(path, "the SHA-256", checksum.sha256, sha256)
    if expected := checksum.sha256 if checksum else sha256:
        _check(path, checksum.size if checksum else None, expected, again)
    else:
        with _opened(path):
            pass
    return path


def read_document(directory: Path, name: str, kind: "type[T] | TypeAdapter[T]") -> T:
    """Return the JSON document in a file, checked if `directory` is sealed, as a `kind`."""
    return parse_document(directory / name, read_file(directory, name), kind)


def parse_document(path: Path, data: bytes, kind: "type[T] | TypeAdapter[T]") -> T:
    """Return `data`, the JSON document read from `path`, as a `kind`."""
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    place = "".join(f"{step}: " for step in first["loc"][:1])
    raise Damaged(path, f"cannot be understood: {place}{first['msg']}")


class _Seen(NamedTuple):
    """A file as it was found."""

    identity: Identity
    expected: str
    fault: str | None
    at: float


_seen: OrderedDict[Path, _Seen] = OrderedDict()
"""The files that this process has checked last."""


def _listed(directory: Path) -> dict[str, Checksum]:
    path = directory / CHECKSUMS
    with _opened(path) as (file, _):
        data = file.read()
    return parse_document(path, data, Checksums).files


def _checksum(directory: Path, name: str) -> Checksum | None:
    if not is_sealed(directory):
        return None
    checksum = _listed(directory).get(name)
    if checksum is None:
        raise Damaged(directory / CHECKSUMS, f"does not list {name}")
    return checksum


def _check(path: Path, size: int | None, sha256: str, again: bool) -> None:
    with _opened(path) as (file, identity):
        if size is not None:
            _compare(path, "bytes", identity.size, size)
        seen = _seen.get(path)
        if seen and (seen.identity, seen.expected) == (identity, sha256):
            is_recent = time.monotonic() - seen.at < RECHECK_SECONDS
            if seen.fault is not None and is_recent:
                raise Damaged(path, seen.fault)
            if seen.fault is None and not again:
                return
        try:
            _compare(path, "the SHA-256", _digest(file), sha256)
        except Damaged as error:
            _remember(path, identity, sha256, error.fault)
            raise
    _remember(path, identity, sha256, None)


def _remember(path: Path, identity: Identity, expected: str, fault: str | None) -> None:
    _seen[path] = _Seen(identity, expected, fault, time.monotonic())
    while len(_seen) > MAX_REMEMBERED:
        _seen.popitem(last=False)


def _compare(path: Path, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Damaged(path, f"has {what} {found} instead of {wanted}")


def _digest(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, Identity]]:
    """Open a file to read it; an error of reading it within the context is damage."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Damaged(path, "is not a file")
            yield file, Identity.of(found)
    except FileNotFoundError as error:
        raise Damaged(path, "is missing") from error
    except OSError as error:
        if error.errno in _NOT_OF_THE_FILE:
            raise
        raise Damaged(path, f"cannot be read: {error.strerror}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would wait for its writer
