"""The audit log, read from its end."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from service.access.audit_log import held, rotated
from service.access.schemas import AuditEntry
from service.schemas import Page

BLOCK_BYTES = 64 * 1024
MAX_SCANNED = 8 * 1024 * 1024
"""Bytes read for one page; it ends there, even if it is not full."""
DISORDER = timedelta(minutes=1)
"""Time by which a line may be older than the one before it."""


@dataclass(frozen=True)
class AuditQuery:
    """The entries that a reader wants; None for all."""

    owner: str | None = None
    key: str | None = None
    """Name or id of a key."""
    action: str | None = None
    """Action, with `*` for any characters."""
    object: str | None = None
    """Object; a model stands for its versions and aliases too."""
    since: datetime | None = None

    def includes(self, entry: AuditEntry) -> bool:
        """Return whether an entry is wanted."""
        return (
            self.owner in (None, entry.owner)
            and self.key in (None, entry.key, entry.key_id)
            and (self.action is None or fnmatchcase(entry.action, self.action))
            and (self.object is None or self.object in _names(entry.object))
            and (self.since is None or entry.time >= self.since)
        )

    def is_past(self, entry: AuditEntry) -> bool:
        """Return whether all entries before this one are too old."""
        return self.since is not None and entry.time + DISORDER < self.since


class Place(NamedTuple):
    """A line: the number of its file, and its offset there."""

    file: int
    offset: int

    @classmethod
    def of(cls, cursor: str) -> "Place":
        """Return the place of a cursor."""
        return cls(*map(int, cursor.split("-")))

    @property
    def cursor(self) -> str:
        return f"{self.file}-{self.offset}"


class AuditReader:
    """Reads the files of an audit log while others write them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def page(self, query: AuditQuery, limit: int, after: str | None) -> Page[AuditEntry]:
        """Return the entries of a query, the newest first, from the one after a cursor on."""
        before = None if after is None else Place.of(after)
        found: list[AuditEntry] = []
        scanned, last = 0, Place(0, 0)
        for place, line in self._lines(before):
            scanned += len(line)
            entry = _parsed(line)
            if entry is not None and query.is_past(entry):
                break
            if entry is not None and query.includes(entry):
                if len(found) == limit:
                    return Page(data=found, next=last.cursor)
                found.append(entry)
            last = place
            if scanned > MAX_SCANNED:
                return Page(data=found, next=last.cursor)
        return Page(data=found, next=None)

    def _lines(self, before: Place | None) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines before a place, the last first."""
        with self._snapshot() as (newest, earlier):
            number = max(earlier, default=0) + 1
            if newest is not None and (before is None or before.file >= number):
                for offset, line in _lines_before(newest, number, before):
                    yield Place(number, offset), line
            for number in sorted(earlier, reverse=True):
                if before is not None and before.file < number:
                    continue
                try:
                    descriptor = os.open(earlier[number], os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return  # it was the oldest, and has been deleted
                try:
                    for offset, line in _lines_before(descriptor, number, before):
                        yield Place(number, offset), line
                finally:
                    os.close(descriptor)

    @contextmanager
    def _snapshot(self) -> Iterator[tuple[int | None, dict[int, Path]]]:
        """Yield a descriptor of the newest file and the earlier ones, as of one moment."""
        try:
            with held(self._file, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
                newest, earlier = os.dup(descriptor), rotated(self._file)
        except FileNotFoundError:
            yield None, rotated(self._file)
            return
        try:
            yield newest, earlier
        finally:
            os.close(newest)


def _lines_before(
    descriptor: int, number: int, before: Place | None
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, or those before a place if it is in it, the last first, with
    their offsets."""
    start = os.fstat(descriptor).st_size
    if before is not None and before.file == number:
        start = min(start, before.offset)
    rest = b""
    while start > 0:
        size = min(BLOCK_BYTES, start)
        start -= size
        block = os.pread(descriptor, size, start) + rest
        rest, *lines = block.split(b"\n")
        offset = start + len(block)
        for line in reversed(lines):
            offset -= len(line)
            if line:
                yield offset, line
            offset -= 1
    if rest:
        yield 0, rest


def _parsed(line: bytes) -> AuditEntry | None:
    """Return the entry of a line, or None for one that was cut off."""
    try:
        return AuditEntry.model_validate_json(line)
    except ValidationError:
        return None


def _names(name: str | None) -> tuple[str, ...]:
    """Return the names by which an entry's object may be asked for."""
    if name is None:
        return ()
    return name, name.partition("@")[0]
