"""How a machine is shared: its queue, its devices, and what its owners have used."""

from datetime import date, datetime

from epochd.schemas.base import Schema


class Held(Schema):
    """A reason for which a job stays in the queue, besides the jobs before it."""

    by: str
    detail: str
    until: datetime | None


class QueueEntry(Schema):
    """A queued job."""

    position: int | None
    job: str
    name: str
    owner: str | None
    priority: int
    created_at: datetime
    expected_start: datetime | None
    held: Held | None


class MemoryUse(Schema):
    """Memory of a device, in bytes."""

    used: int
    total: int


class Device(Schema):
    """A place for a trainer, its device and its job."""

    trainer: int
    device: str
    state: str
    job: str | None
    owner: str | None
    steps_per_second: float | None
    memory: MemoryUse | None


class DailyUse(Schema):
    """Use by an owner in a day of UTC."""

    day: date
    owner: str | None
    device_seconds: float
    jobs: int
