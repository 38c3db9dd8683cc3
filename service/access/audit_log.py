"""The audit log: who changed what, as lines of JSON in files that are rotated by size.

Every process of the service, and every command, appends to the same file. Lines are not synced to
disk one by one: they survive the end of a process, but the last seconds may be lost in a power cut.
"""

import errno
import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.access.schemas import AuditEntry
from service.settings import MIB, Settings

FILES = 10
"""Files of which the log consists; the oldest is deleted when another is begun."""
NUMBERED = re.compile(r"\.(\d+)$")

logger = logging.getLogger(__name__)


class AuditLog:
    """Appends lines. Many processes and threads may do so at the same time."""

    def __init__(self, file: Path, max_bytes: int, files: int = FILES) -> None:
        """Keep the newest lines in `file`, and at most `max_bytes` in all of its `files`."""
        self._file = file
        self._max_bytes = max_bytes // files
        self._files = files
        self._lost = 0
        """Lines since the last one that could be written."""

    @classmethod
    def of(cls, settings: Settings) -> "AuditLog":
        """Return the log of a data directory."""
        return cls(settings.audit_file, settings.audit_mb * MIB)

    def append(self, entry: AuditEntry) -> None:
        """Append a line, which is in the file on return. If that fails, because the disk is full,
        a warning says so, and the request goes on."""
        document = entry.model_dump(mode="json", exclude_none=True)
        try:
            # ASCII: nothing in a line can break it, or act on the terminal that shows it.
            self._append(json.dumps(document).encode() + b"\n")
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                logger.warning("the audit log %s cannot be written: %s", self._file, error)
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            logger.warning("the audit log is written again; it lacks %d lines", lost)

    def _append(self, line: bytes) -> None:
        while True:
            with held(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, fcntl.LOCK_EX) as newest:
                size = os.fstat(newest).st_size
                if not size or size + len(line) <= self._max_bytes:
                    _write(newest, size, line)
                    return
                self._rotate()

    def _rotate(self) -> None:
        """Give the newest file a number, and delete the oldest. Its lock is held."""
        numbered = rotated(self._file)
        number = max(numbered, default=0) + 1
        self._file.rename(self._file.with_name(f"{self._file.name}.{number:06}"))
        for old in sorted(numbered)[: max(0, len(numbered) + 2 - self._files)]:
            numbered[old].unlink(missing_ok=True)


@contextmanager
def held(file: Path, flags: int, lock: int) -> Iterator[int]:
    """Open the newest file and hold a lock on it, during which it is not rotated; yield its
    descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    while True:
        descriptor = os.open(file, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, lock)
            if not _is_at(file, descriptor):
                continue  # it was rotated before it was locked
            _leave_to_owner(file, descriptor)
            yield descriptor
            return
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def rotated(file: Path) -> dict[int, Path]:
    """Return the earlier files by their numbers, which grow."""
    found = ((NUMBERED.search(path.name), path) for path in file.parent.glob(f"{file.name}.*"))
    return {int(match[1]): path for match, path in found if match}


def _write(descriptor: int, size: int, line: bytes) -> None:
    is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    content = b"\n" + line if is_torn else line  # after a process that was killed as it wrote
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _is_at(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _leave_to_owner(file: Path, descriptor: int) -> None:
    """Give a file that root has made, by a command, to the owner of the data directory."""
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid == 0:
        owner = file.parent.stat()
        with suppress(PermissionError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
