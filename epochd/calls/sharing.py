"""Calls about the sharing of a machine."""

from collections.abc import Generator
from typing import Any

from epochd.calls.call import Call, call, pages, reads_list, reads_page
from epochd.schemas import DailyUse, Device, Page, QueueEntry


def queue(*, limit: int | None = 50) -> Generator[Call[Any], Any, list[QueueEntry]]:
    """Return the queued jobs in the order in which they are expected to start; all of them if
    `limit` is None."""

    def page(after: str | None, size: int) -> Call[Page[QueueEntry]]:
        params = {"limit": size, "after": after}
        return call("GET", "/queue", reads_page(QueueEntry), params=params)

    return pages(page, limit)


def devices() -> Call[list[Device]]:
    """Return the places for trainers, with the device and the job of each."""
    return call("GET", "/devices", reads_list(Device))


def usage(*, days: int = 7, owner: str | None = None) -> Call[list[DailyUse]]:
    """Return the device-seconds and jobs of each owner and day, the newest day first."""
    return call("GET", "/usage", reads_list(DailyUse), params={"days": days, "owner": owner})
