"""A process that appends numbered lines to an audit log: FILE MAX_BYTES NAME COUNT."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from service.access.audit_log import AuditLog
from service.access.schemas import AuditEntry


def entry(name: str, number: int) -> AuditEntry:
    """Return an entry of a known sender."""
    return AuditEntry(
        time=datetime.now(UTC), key=name, action="POST /jobs", kind="job", object=f"job_{number}"
    )


if __name__ == "__main__":
    log = AuditLog(Path(sys.argv[1]), int(sys.argv[2]))
    for number in range(int(sys.argv[4])):
        log.append(entry(sys.argv[3], number))
