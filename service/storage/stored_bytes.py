"""Storage of an owner: uploaded files and the files of models, counted in the database.

Rows parsed from uploads, checkpoints and event histories are not counted: the service decides on
their size and how long it keeps them.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.errors import QuotaExceeded
from service.settings.quotas import Quotas
from service.storage.database import Database, serialize
from service.storage.owned_rows import owned_by
from service.storage.tables import DatasetRow, ModelVersionRow

STORED_LOCK = 0x65706F63686473
"""Key of PostgreSQL's lock under which stored bytes are counted: `epochds`."""
MB = 1_000_000
RETRY_SECONDS = 60.0


def stored_bytes(session: Session, owner: str | None) -> int:
    """Return the size of an owner's uploaded files and models. Models of earlier versions of the
    service, which did not record their size, do not count."""
    uploads = select(func.sum(DatasetRow.bytes)).where(owned_by(DatasetRow.owner, owner))
    models = select(func.sum(ModelVersionRow.bytes)).where(
        owned_by(ModelVersionRow.owner, owner), ModelVersionRow.deleted_at.is_(None)
    )
    return int(session.scalar(uploads) or 0) + int(session.scalar(models) or 0)


class StoredQuotas:
    """The quotas of stored bytes."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def check(self, owner: str | None, role: str, new: int) -> None:
        """Check that an owner may store `new` bytes.

        Raises:
            QuotaExceeded: the quota of the owner or its role leaves no room.
        """
        if self._quotas.sets("stored_mb"):
            with self._database.read() as session:
                check_stored(session, self._quotas, owner, role, new)

    def reserve(self, session: Session, owner: str | None, role: str, new: int) -> None:
        """Check it as `check` does, in the transaction that stores the bytes."""
        if self._quotas.sets("stored_mb"):
            serialize(session, STORED_LOCK)
            check_stored(session, self._quotas, owner, role, new)


def check_stored(
    session: Session, quotas: Quotas, owner: str | None, role: str, new: int = 0
) -> None:
    """Check that an owner may store `new` bytes; without any, that there is room at all.

    Raises:
        QuotaExceeded: the quota of the owner or its role leaves no room.
    """
    limit = quotas.of(role, owner).stored_mb
    if limit is None:
        return
    stored = stored_bytes(session, owner)
    if stored + max(new, 1) <= limit * MB:
        return
    adds = f", and this would add {_mb(new)}" if new else ""
    raise QuotaExceeded(
        f"{owner or role} stores {_mb(stored)} of uploads and models{adds}; the quota is "
        f"{limit:,g} MB (stored_mb, EPOCHD_QUOTAS); it frees when data sets or versions of models "
        "are deleted",
        RETRY_SECONDS,
    )


def _mb(size: int) -> str:
    return f"{size / MB:,.1f} MB"
