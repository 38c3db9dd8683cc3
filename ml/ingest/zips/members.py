"""The members of a zip file that may be read."""

import re
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

from ml.errors import Invalid
from ml.ingest.names import shown
from ml.ingest.zips.folders import MAX_PATH, Folder
from ml.ingest.zips.member_names import MemberNames

_ENCRYPTED: Final = 1
_METHODS: Final = {ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA}
_DRIVE: Final = re.compile(r"[A-Za-z]:(/|$)")
_SYSTEM_FOLDERS: Final = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
_SYSTEM_FILES: Final = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}


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
