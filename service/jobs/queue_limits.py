"""The limits on waiting jobs: that of the operator on all, and the quotas of owners.

They are counted in the transaction that queues a job, so that no number of requests at the same
time exceeds them.
"""

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from service.errors import QueueFull, QuotaExceeded
from service.jobs.fair_share import Owner
from service.settings.quotas import Quotas, counted
from service.storage.database import serialize
from service.storage.owned_rows import owned_by
from service.storage.stored_bytes import check_stored
from service.storage.tables import JobRow

QUEUE_LOCK = 0x65706F63686471
"""Key of PostgreSQL's lock under which queued jobs are counted: `epochdq`."""
RETRY_SECONDS = 10.0


class QueueLimits:
    """Refuses jobs that the queue or their owner's quota has no room for."""

    def __init__(self, max_queued: int | None = None, quotas: Quotas | None = None) -> None:
        self._max_queued = max_queued
        self._quotas = quotas or Quotas()

    def check(self, session: Session, owner: Owner, role: str, own: int = 0) -> None:
        """Check that another job of `owner` may be queued, besides the `own` ones that this
        transaction has queued already.

        Raises:
            QueueFull: the queue is full.
            QuotaExceeded: the owner has as many jobs waiting as its quota allows.
        """
        limit = self._quotas.of(role, owner).waiting
        if self._max_queued is None and limit is None:
            return
        serialize(session, QUEUE_LOCK)
        if self._max_queued is not None and _queued(session) - own >= self._max_queued:
            raise QueueFull(
                f"{self._max_queued:,} jobs are queued, the limit of EPOCHD_MAX_QUEUED; try again "
                "when some have started"
            )
        if limit is None:
            return
        if (waiting := _queued(session, owned_by(JobRow.owner, owner)) - own) >= limit:
            raise QuotaExceeded(
                f"{owner or role} has {counted(waiting)} waiting, and the quota is {limit:,} "
                "(waiting, EPOCHD_QUOTAS); try again when one of them has started",
                RETRY_SECONDS,
            )

    def check_stored(self, session: Session, owner: Owner, role: str) -> None:
        """Check that `owner` may store another model.

        Raises:
            QuotaExceeded: it stores as much as its quota allows.
        """
        check_stored(session, self._quotas, owner, role)


def _queued(session: Session, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).where(JobRow.status == "queued", *conditions)
    return session.scalar(query) or 0
