"""The table of sessions: browsers that are signed in with a key."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Transaction
from ulid import ULID

from service.access import secrets
from service.access.caller import Caller
from service.access.schemas import Session
from service.errors import NotFound, Unauthorized
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import KeyRow, SessionRow

MAX_SESSIONS = 20
"""Sessions of one key; the next one ends the oldest."""
MAX_ADDRESS, MAX_BROWSER = 64, 200


@dataclass(frozen=True)
class NewSession:
    """A session with its token, which only its browser knows."""

    token: str
    expires_at: datetime


class SessionStore:
    """Begins, lists and ends sessions. Every change counts at once in every process."""

    def __init__(self, database: Database, version: SharedVersion, hours: float) -> None:
        self._database = database
        self._version = version
        self._time = timedelta(hours=hours)

    def begin(self, secret: str, address: str, browser: str) -> NewSession:
        """Begin a session of the key with this secret.

        Raises:
            Unauthorized: there is none, or it was rotated or revoked while the request waited.
        """
        token, now = secrets.new_token(), datetime.now(UTC)
        with self._database.write() as session:
            query = select(KeyRow).where(KeyRow.secret_sha256 == secrets.digest(secret))
            key = session.scalar(query.where(KeyRow.revoked_at.is_(None)))
            if key is None:
                raise Unauthorized("the key was rotated or revoked")
            expires_at = min(filter(None, (now + self._time, key.expires_at)))
            _make_room(session, key.id, now)
            session.add(
                SessionRow(
                    id=f"session_{ULID()}",
                    key_id=key.id,
                    token_sha256=secrets.digest(token),
                    address=address[:MAX_ADDRESS],
                    browser=browser[:MAX_BROWSER],
                    created_at=now,
                    expires_at=expires_at,
                )
            )
        self._version.bump()
        return NewSession(token, expires_at)

    def end(self, session_id: str, caller: Caller) -> None:
        """End a session of the caller's key, or of any if the caller is an admin.

        Raises:
            NotFound: there is no such session.
        """
        with self._database.write() as session:
            row = session.get(SessionRow, session_id)
            if row is None or not (caller.is_admin or row.key_id == caller.key_id):
                raise NotFound(f"there is no session {session_id!r}")
            session.delete(row)
        self._version.bump()

    def listed(self, caller: Caller) -> list[Session]:
        """Return the sessions of the caller's key, or all if the caller is an admin, the newest
        first."""
        query = (
            select(SessionRow, KeyRow.name)
            .join(KeyRow, KeyRow.id == SessionRow.key_id)
            .where(SessionRow.expires_at > datetime.now(UTC))
            .order_by(SessionRow.created_at.desc())
        )
        if not caller.is_admin:
            query = query.where(SessionRow.key_id == caller.key_id)
        with self._database.read() as session:
            return [
                Session(
                    id=row.id,
                    key=name,
                    address=row.address,
                    browser=row.browser,
                    created_at=row.created_at,
                    expires_at=row.expires_at,
                    last_used_at=row.last_used_at,
                    current=row.id == caller.session_id,
                )
                for row, name in session.execute(query)
            ]


def _make_room(session: Transaction, key_id: str, now: datetime) -> None:
    """Delete expired sessions, and a key's oldest ones where it has too many."""
    session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
    newest = (
        select(SessionRow.id)
        .where(SessionRow.key_id == key_id)
        .order_by(SessionRow.created_at.desc())
        .offset(MAX_SESSIONS - 1)
    )
    oldest = session.scalars(newest).all()
    session.execute(delete(SessionRow).where(SessionRow.id.in_(oldest)))
