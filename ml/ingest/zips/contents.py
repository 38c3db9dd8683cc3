"""The contents of a zip file, sorted: which members are images, and which are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal
from zipfile import ZipFile

from ml.errors import Invalid
from ml.images.header import EXTENSIONS, START_BYTES, is_image
from ml.ingest.warning import DataWarning
from ml.ingest.zips.member_names import MemberNames, member_names
from ml.ingest.zips.members import Member, members

MAX_MEMBERS: Final = 1_000_000
MAX_LISTED: Final = 3
"""Files of each kind that a warning lists."""

_ARCHIVES: Final = {"zip", "7z", "rar", "tar", "tgz", "tbz", "txz", "gz", "bz2", "xz", "zst"}
_ZIP: Final = b"PK\x03\x04"

Skipped = Literal["image", "other", "system"]
_KINDS: Final[dict[Skipped, tuple[str, str]]] = {
    "image": ("image outside the folders of classes", "images outside the folders of classes"),
    "other": ("file of another type", "files of other types"),
    "system": ("hidden file", "hidden files"),
}
"""Kinds of files that are skipped, in words, one and many."""


@dataclass(frozen=True)
class Contents:
    """The files of a zip."""

    names: MemberNames
    images: Sequence[Member]
    skipped: Mapping[Skipped, Sequence[Member]]
    """Files that are not images, by kind."""

    def without(self, table: Member) -> "Contents":
        """Return the contents without a file of another type."""
        others = [member for member in self.skipped["other"] if member is not table]
        return replace(self, skipped={**self.skipped, "other": others})


def look_into(archive: ZipFile, encoding: str | None) -> Contents:
    """Return the contents of a zip whose names are in `encoding`, None if it is to be guessed. A
    file is an image if its name or its first bytes say so.

    Raises:
        Invalid: there are too many members, or one is an archive, or not allowed; see `members`.
    """
    if len(archive.infolist()) > MAX_MEMBERS:
        raise Invalid(f"has over {MAX_MEMBERS:,} members, the maximum")
    names = member_names(archive.infolist(), encoding)
    images: list[Member] = []
    skipped: dict[Skipped, list[Member]] = {kind: [] for kind in _KINDS}
    for member in members(archive, names):
        if member.is_system:
            skipped["system"].append(member)
            continue
        start = b"" if member.extension in EXTENSIONS else _start(archive, member)
        # Many kinds of documents are zip files too.
        if member.extension in _ARCHIVES or (not member.extension and start.startswith(_ZIP)):
            raise Invalid(f"has an archive within it, {member.shown}; unpack it first")
        if member.extension in EXTENSIONS or is_image(start):
            images.append(member)
        else:
            skipped["other"].append(member)
    return Contents(names, images, skipped)


def _start(archive: ZipFile, member: Member) -> bytes:
    with archive.open(member.info) as file:
        return file.read(START_BYTES)


def skipped_warning(skipped: Mapping[Skipped, Sequence[Member]]) -> list[DataWarning]:
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
