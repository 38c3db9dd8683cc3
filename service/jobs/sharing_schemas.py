"""Schemas of the queue, of devices, and of what owners have used."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from service.schemas import Body

OWNER = "Owner of the job; null without keys."


class Held(Body):
    """A reason for which a job stays in the queue, besides the jobs before it."""

    by: Literal["not_before", "after", "quota"]
    detail: str = Field(examples=["anna has 2 jobs running, and the quota is 2"])
    until: datetime | None = Field(description="Time at which it ends; null if unknown.")


class QueueEntry(Body):
    """A queued job, in the order in which jobs are expected to start."""

    position: int | None = Field(
        description="Place in the order, from 1; null if the job would not start even if a trainer "
        "were free.",
        examples=[3],
    )
    job: str = Field(examples=["job_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"])
    name: str = Field(examples=["digits"])
    owner: str | None = Field(description=OWNER, examples=["anna"])
    priority: int = Field(examples=[0])
    created_at: datetime
    expected_start: datetime | None = Field(
        description="Start to be expected from the pace of running jobs and from how long like "
        "jobs took; null if that is not known of a job before it."
    )
    held: Held | None = Field(description="What keeps the job in the queue, if anything does.")


class MemoryUse(Body):
    """Memory of a device: of a GPU, its own; of the CPU, the machine's."""

    used: int = Field(description="Bytes in use, by any process.", examples=[3_221_225_472])
    total: int = Field(description="All bytes.", examples=[17_179_869_184])


class Device(Body):
    """A place for a trainer, its device and its job."""

    trainer: int = Field(description="Number of the place, from 0.", examples=[0])
    device: str = Field(examples=["cuda:0"])
    state: Literal["starting", "idle", "loading", "training", "leaving"] = Field(
        description="`starting`: no trainer yet; `loading`: its job loads the data; `leaving`: its "
        "job is to stop between two steps.",
        examples=["training"],
    )
    job: str | None = Field(
        description="The running job; null if there is none, or if it is not for you to see.",
        examples=["job_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"],
    )
    owner: str | None = Field(description=OWNER, examples=["anna"])
    steps_per_second: float | None = Field(
        description="Pace of the running job; null before its first report.", examples=[812.5]
    )
    memory: MemoryUse | None = Field(description="Memory of the device; null if unknown.")


class DailyUse(Body):
    """Use by an owner in a day."""

    day: date = Field(description="Day, in UTC.")
    owner: str | None = Field(description="The owner; null without keys.", examples=["anna"])
    device_seconds: float = Field(
        description="Seconds for which the owner's jobs held trainers, with those that run.",
        examples=[1823.4],
    )
    jobs: int = Field(description="Jobs that ended after an attempt.", examples=[12])
