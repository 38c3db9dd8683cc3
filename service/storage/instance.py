"""The identity that a database and its data directory share.

A missing row proves that an artifact is unwanted only if the database is the one that the artifact
was registered in. Both therefore hold the same random id.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url, select

from ml.files import replace
from service.readiness import Finding
from service.settings import Settings
from service.storage.artifacts import Kind, Known, counted, on_disk, places
from service.storage.database import Database
from service.storage.tables import InstanceRow

REMEDY = (
    "nothing is cleaned up until the right database is put back, or until `epochd adopt`, run with "
    "the service stopped, has registered them here"
)


class Instance:
    """The identities of a database and of a data directory."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._file = settings.instance_file

    def mismatch(self) -> str | None:
        """Return why the database and the data directory do not belong together, or None. Whichever
        has no id gets one.

        They belong together if their ids are equal; if there are no artifacts yet; or if an earlier
        version, which knew no ids, left artifacts that the database names.
        """
        ours, theirs = read_id(self._file), self._database_id()
        if ours and ours == theirs:
            return None
        with self._database.read() as session:
            known = Known.of(session)
        found = {kind: on_disk(place) for kind, place in places(self._settings).items()}
        named = {kind: names & known.named(kind) for kind, names in found.items()}
        if not any(found.values()) or (ours is None and any(named.values())):
            self.join(theirs or ours)
            return None
        if theirs is None:
            self._set_database_id(new_id())
        if ours is None:
            self._write(new_id())
        where = make_url(self._settings.sqlalchemy_url).render_as_string(hide_password=True)
        return (
            f"the database {where} is not the one of the data directory {self._file.parent}, which "
            f"holds {_listed(found)}, of which it knows {_listed(named)}; {REMEDY}"
        )

    def join(self, instance_id: str | None = None) -> None:
        """Give the database and the data directory the same id, by default the database's own."""
        instance_id = instance_id or self._database_id() or new_id()
        self._set_database_id(instance_id)
        self._write(instance_id)

    def _database_id(self) -> str | None:
        with self._database.read() as session:
            return session.scalar(select(InstanceRow.id))

    def _set_database_id(self, instance_id: str) -> None:
        with self._database.write() as session:
            if session.get(InstanceRow, instance_id) is None:
                session.add(InstanceRow(id=instance_id, created_at=datetime.now(UTC)))

    def _write(self, instance_id: str) -> None:
        if read_id(self._file) != instance_id:
            replace(self._file, f"{instance_id}\n".encode())


def findings(data_warning_file: Path) -> Iterator[Finding]:
    """Tell why nothing is cleaned up. Requests are answered all the same."""
    with suppress(FileNotFoundError):
        yield Finding(data_warning_file.read_text("utf-8"))


def new_id() -> str:
    """Return a random id."""
    return secrets.token_hex(16)


def read_id(file: Path) -> str | None:
    """Return the id in a data directory, or None if it has none."""
    try:
        return file.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None


def _listed(names: dict[Kind, set[str]]) -> str:
    parts = [counted(kind, len(some)) for kind, some in names.items() if some] or ["none"]
    return " and ".join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}"
