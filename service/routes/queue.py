"""The route of the queue."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.jobs.sharing_schemas import QueueEntry
from service.routes.dependencies import AppComponents, CurrentCaller
from service.routes.parameters import Limit
from service.schemas import Page

router = APIRouter(prefix="/queue", tags=["jobs"])


@router.get("")
def get_queue(
    components: AppComponents,
    caller: CurrentCaller,
    limit: Limit = 50,
    after: Annotated[int, Query(ge=0, le=2**31, description="Number of jobs before the page.")] = 0,
) -> Page[QueueEntry]:
    """List the queued jobs in the order in which they are expected to start: an admin's priority
    first, then the owner who has used the devices least of late, then the owner's priority.
    Positions count the jobs of all owners, also those that you may not see."""
    trainers = sum(place.trainer is not None for place in components.roster.read())
    return components.sharing.queue(caller, trainers, limit, after)
