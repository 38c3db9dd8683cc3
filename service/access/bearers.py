"""The keys and sessions in memory, by the SHA-256 of their secrets, always up to date."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import select

from service.access import secrets
from service.access.caller import Caller, Role
from service.access.key_store import any_key
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import KeyRow, SessionRow


@dataclass(frozen=True)
class Bearers:
    """The callers of a service, by the stored form of what they send."""

    any_keys: bool
    """Whether there is a key or was one; without, nobody needs any."""
    keys: Mapping[str, Caller]
    sessions: Mapping[str, Caller]


class BearerIndex:
    """A copy of the tables that is read again when their version changes. A request thus needs no
    query, yet a revoked key is refused at once in every process."""

    def __init__(self, database: Database, version: SharedVersion, *, sees_all: bool) -> None:
        self._database = database
        self.version = version
        self._sees_all = sees_all
        self.seen_version: bytes | None = None
        """Version of the tables at the last reading."""
        self._bearers = Bearers(any_keys=True, keys={}, sessions={})
        self._reading = asyncio.Lock()

    @property
    def is_current(self) -> bool:
        """Whether the copy is as the tables are."""
        return self.version.current() == self.seen_version

    @property
    def any_keys(self) -> bool:
        """Whether the service has or had a key."""
        return self._bearers.any_keys

    async def refresh(self) -> None:
        """Read the tables again if they have changed."""
        if self.is_current:
            return
        async with self._reading:
            # Read before the rows, so that a concurrent change causes another reading.
            current = self.version.current()
            if current != self.seen_version:
                self._bearers = await asyncio.to_thread(self._read)
                self.seen_version = current

    async def look_for_changes(self) -> None:
        """Read the tables even if their version is the same. Whoever changed them may have been
        killed before telling, or be on another machine that shares the database."""
        if await asyncio.to_thread(self._read) != self._bearers:
            self.version.bump()

    def caller_of_key(self, secret: str) -> Caller | None:
        """Return the caller whose key this is, or None."""
        return _found(self._bearers.keys, secret)

    def caller_of_session(self, token: str) -> Caller | None:
        """Return the caller whose session's token this is, or None."""
        return _found(self._bearers.sessions, token)

    def _read(self) -> Bearers:
        now = datetime.now(UTC)
        with self._database.read() as session:
            any_keys = any_key(session)
            keys = session.scalars(select(KeyRow).where(KeyRow.revoked_at.is_(None))).all()
            sessions = session.scalars(select(SessionRow).where(SessionRow.expires_at > now)).all()
        callers = {row.id: self._caller(row) for row in keys}
        return Bearers(
            any_keys,
            {row.secret_sha256: callers[row.id] for row in keys},
            {
                row.token_sha256: _in_session(callers[row.key_id], row)
                for row in sessions
                if row.key_id in callers
            },
        )

    def _caller(self, row: KeyRow) -> Caller:
        return Caller(
            role=Role(row.role),
            owner=row.owner,
            key_id=row.id,
            key_name=row.name,
            models=tuple(row.models),
            sees_all=self._sees_all,
            expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
        )


def _in_session(caller: Caller, row: SessionRow) -> Caller:
    return replace(caller, session_id=row.id, expires_at=row.expires_at.timestamp())


def _found(callers: Mapping[str, Caller], secret: str) -> Caller | None:
    # The time of a look-up by hash tells nothing of the secrets: a guess cannot be brought closer.
    digest = secrets.digest(secret)
    caller = callers.get(digest)
    if caller is None or (caller.expires_at is not None and caller.expires_at <= time.time()):
        return None
    return caller
