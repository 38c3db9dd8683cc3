"""The members of a zip of images: which are images, and which are skipped."""

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

from ml.errors import Invalid
from ml.images.header import EXTENSIONS, START_BYTES, is_image
from ml.ingest.names import shown
from ml.ingest.warning import DataWarning
from ml.ingest.zips.folders import MAX_PATH, Folder
from ml.ingest.zips.member_names import MemberNames

MAX_LISTED: Final = 3
"""Files of each kind that a warning lists."""

_ENCRYPTED: Final = 1
_METHODS: Final = {ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA}
_DRIVE: Final = re.compile(r"[A-Za-z]:(/|$)")
_SYSTEM_FOLDERS: Final = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
_SYSTEM_FILES: Final = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_ARCHIVES: Final = {"zip", "7z", "rar", "tar", "tgz", "tbz", "txz", "gz", "bz2", "xz", "zst"}
_ZIP: Final = b"PK\x03\x04"
_TABLES: Final = {"csv", "tsv", "parquet", "xlsx", "json", "jsonl", "npy", "npz"}

Skipped = Literal["image", "other", "system"]
_KINDS: Final[dict[Skipped, tuple[str, str]]] = {
    "image": ("image outside the folders of classes", "images outside the folders of classes"),
    "other": ("file of another type", "files of other types"),
    "system": ("hidden file", "hidden files"),
}
"""Kinds of files that are skipped, in words, one and many."""


@dataclass(frozen=True)
class Member:
    """A file in a zip."""

    info: ZipInfo
    path: Folder
    """Its folders and its own name."""

    @property
    def folder(self) -> Folder:
        """Its folders."""
        return self.path[:-1]

    @property
    def shown(self) -> str:
        """Its path as messages show it."""
        return shown("/".join(self.path), MAX_PATH)

    @property
    def is_system(self) -> bool:
        """Whether it is hidden, or of an operating system's own."""
        *folders, name = (part.casefold() for part in self.path)
        return (
            name in _SYSTEM_FILES
            or any(part.startswith(".") for part in (*folders, name))
            or not _SYSTEM_FOLDERS.isdisjoint(folders)
        )

    @property
    def extension(self) -> str:
        """The end of its name, in lower case and without a dot."""
        return self.path[-1].rpartition(".")[2].casefold() if "." in self.path[-1] else ""


def members(archive: ZipFile, names: MemberNames) -> list[Member]:
    """Return all files of a zip.

    Raises:
        Invalid: a member leads outside, is a link, is encrypted, or packed by a method that is not
            read.
    """
    found = []
    for info, name in zip(archive.infolist(), names.names, strict=True):
        _check(info, name)
        path = PurePosixPath(name).parts
        if path and not name.endswith("/"):
            found.append(Member(info, path))
    return found


def _check(info: ZipInfo, name: str) -> None:
    path = shown(name, MAX_PATH)
    if name.startswith("/") or _DRIVE.match(name) or ".." in map(str.strip, name.split("/")):
        raise Invalid(f"has a member {path} with a path outside the archive; rename it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Invalid(f"has a link, {path}; replace it by the file itself")
    if info.flag_bits & _ENCRYPTED:
        raise Invalid(f"is encrypted ({path}); send it without a password")
    if info.compress_type not in _METHODS:
        raise Invalid(
            f"is packed by method {info.compress_type} ({path}), which is not read; pack it with "
            "Deflate, the usual method"
        )


def sorted_out(
    archive: ZipFile, files: Sequence[Member]
) -> tuple[list[Member], dict[Skipped, list[Member]]]:
    """Return the images, and the files that are skipped. A file is an image if its name or its
    first bytes say so.

    Raises:
        Invalid: a file is an archive, or none is an image.
    """
    images: list[Member] = []
    skipped: dict[Skipped, list[Member]] = {kind: [] for kind in _KINDS}
    for member in files:
        if member.is_system:
            skipped["system"].append(member)
            continue
        start = b"" if member.extension in EXTENSIONS else _start(archive, member)
        # Many kinds of documents are zip files too.
        if member.extension in _ARCHIVES or (not member.extension and start.startswith(_ZIP)):
            raise Invalid(
                f"has an archive within it, {member.shown}; unpack it into the folders of classes"
            )
        if member.extension in EXTENSIONS or is_image(start):
            images.append(member)
        else:
            skipped["other"].append(member)
    if not images:
        _refuse_tables(skipped["other"])
        raise Invalid("has no images; put them into a folder for each class")
    return images, skipped


def _start(archive: ZipFile, member: Member) -> bytes:
    with archive.open(member.info) as file:
        return file.read(START_BYTES)


def _refuse_tables(files: Sequence[Member]) -> None:
    for member in files:
        if member.extension in _TABLES:
            raise Invalid(f"has no images, but {member.shown}; send that file itself, not in a zip")


def skipped_warning(skipped: dict[Skipped, list[Member]]) -> list[DataWarning]:
    """Return a warning with the number of files that were skipped, and some of their names."""
    parts = []
    for kind, files in skipped.items():
        if files:
            first = ", ".join(member.shown for member in files[:MAX_LISTED])
            more = ", ..." if len(files) > MAX_LISTED else ""
            parts.append(f"{len(files):,} {_KINDS[kind][len(files) > 1]} ({first}{more})")
    if not parts:
        return []
    *others, last = parts
    listed = f"{', '.join(others)} and {last}" if others else last
    verb = "was" if sum(map(len, skipped.values())) == 1 else "were"
    message = f"{listed} {verb} skipped"
    return [DataWarning(column=None, kind="skipped_files", message=message)]
