"""The table of keys: add, list, rotate and revoke."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from ulid import ULID

from service.access import secrets
from service.access.caller import Role
from service.access.schemas import Key, KeyRequest, NewKey
from service.errors import Conflict, NotFound
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import KeyRow, SessionRow

FIRST_KEY = (
    "the first key must be an admin's, who can add and revoke others: epochd keys add NAME "
    "--role admin"
)


class KeyStore:
    """Keys, by name or id. Every change counts at once in every process."""

    def __init__(self, database: Database, version: SharedVersion) -> None:
        self._database = database
        self._version = version

    def exist(self) -> bool:
        """Return whether there is a key, or was one: from the first on, the service needs keys."""
        with self._database.read() as session:
            return any_key(session)

    def add(self, request: KeyRequest) -> NewKey:
        """Add a key.

        Raises:
            Conflict: a key has this name, or this is the first key and not an admin's.
        """
        return self._add([request], secrets.new_secret, None)[0]

    def add_class(self, name: str, pupils: Sequence[KeyRequest]) -> list[NewKey]:
        """Add a key with a sign-in code as its secret for each of a class's pupils.

        Raises:
            Conflict: a key has a pupil's name, or there is no key of an admin.
        """
        return self._add(pupils, secrets.new_code, name)

    def listed(self, *, revoked: bool = False, class_name: str | None = None) -> list[Key]:
        """Return the keys, or those of a class, by name; with `revoked`, those too."""
        query = select(KeyRow).order_by(KeyRow.name, KeyRow.created_at)
        if not revoked:
            query = query.where(KeyRow.revoked_at.is_(None))
        if class_name is not None:
            query = query.where(KeyRow.class_name == class_name)
        with self._database.read() as session:
            return [_key(row) for row in session.scalars(query)]

    def fetch(self, key: str) -> Key:
        """Return a key that is not revoked, by its name or id.

        Raises:
            NotFound: there is none; so do the methods below.
        """
        with self._database.read() as session:
            return _key(_row(session, key))

    def rotate(self, key: str) -> NewKey:
        """Give a key another secret, and end its sessions."""
        with self._database.write() as session:
            row = _row(session, key)
            secret = secrets.new_code() if row.class_name else secrets.new_secret()
            row.secret_sha256 = secrets.digest(secret)
            _end_sessions(session, row)
            rotated = _new_key(row, secret)
        self._version.bump()
        return rotated

    def revoke(self, key: str, *, keep_an_admin: bool = True) -> Key:
        """Revoke a key, and end its sessions. What its owner made is left to admins.

        Raises:
            Conflict: it is the last key of an admin, and `keep_an_admin`.
        """
        with self._database.write() as session:
            row = _row(session, key)
            if keep_an_admin and row.role == Role.ADMIN and not _has_other_admin(session, row):
                raise Conflict(
                    f"{row.name!r} is the last key of an admin; add another first, or revoke it on "
                    "the machine with epochd keys revoke"
                )
            row.revoked_at = datetime.now(UTC)
            _end_sessions(session, row)
            revoked = _key(row)
        self._version.bump()
        return revoked

    def record_use(self, keys: Mapping[str, datetime], sessions: Mapping[str, datetime]) -> None:
        """Record the times of the last requests with keys and in sessions, by id."""
        with self._database.write() as session:
            for key_id, at in keys.items():
                used = update(KeyRow).where(KeyRow.id == key_id)
                session.execute(used.values(last_used_at=at))
            for session_id, at in sessions.items():
                seen = update(SessionRow).where(SessionRow.id == session_id)
                session.execute(seen.values(last_used_at=at))

    def _add(
        self, requests: Sequence[KeyRequest], new_secret: Callable[[], str], class_name: str | None
    ) -> list[NewKey]:
        added = []
        with self._database.write() as session:
            is_first = not any_key(session)
            if is_first and (class_name or requests[0].role is not Role.ADMIN):
                raise Conflict(FIRST_KEY)
            for request in requests:
                if _found(session, request.name) is not None:
                    raise _taken(request.name)
                secret = new_secret()
                row = KeyRow(
                    id=f"key_{ULID()}",
                    name=request.name,
                    owner=request.owner or request.name,
                    role=request.role.value,
                    models=request.models,
                    class_name=class_name,
                    secret_sha256=secrets.digest(secret),
                    created_at=datetime.now(UTC),
                    expires_at=request.expires_at,
                )
                session.add(row)
                try:
                    session.flush()
                except IntegrityError:  # on PostgreSQL, another transaction was first
                    raise _taken(request.name) from None
                added.append(_new_key(row, secret))
        self._version.bump()
        return added


def any_key(session: Session) -> bool:
    """Return whether there is a key, or was one."""
    return session.scalar(select(KeyRow.id).limit(1)) is not None


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is a key {name!r} already; choose another name, or rotate or revoke that one"
    )


def _found(session: Session, key: str) -> KeyRow | None:
    return session.scalar(
        select(KeyRow).where(or_(KeyRow.name == key, KeyRow.id == key), KeyRow.revoked_at.is_(None))
    )


def _row(session: Session, key: str) -> KeyRow:
    row = _found(session, key)
    if row is None:
        raise NotFound(f"there is no key {key!r}")
    return row


def _has_other_admin(session: Session, row: KeyRow) -> bool:
    now = datetime.now(UTC)
    query = select(KeyRow.id).where(
        KeyRow.role == Role.ADMIN,
        KeyRow.id != row.id,
        KeyRow.revoked_at.is_(None),
        or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > now),
    )
    return session.scalar(query.limit(1)) is not None


def _end_sessions(session: Session, row: KeyRow) -> None:
    session.execute(delete(SessionRow).where(SessionRow.key_id == row.id))


def _key(row: KeyRow) -> Key:
    return Key.model_validate(row, from_attributes=True)


def _new_key(row: KeyRow, secret: str) -> NewKey:
    return NewKey(**_key(row).model_dump(), secret=secret)
