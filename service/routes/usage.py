"""The route of what owners have used."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.jobs.sharing_schemas import DailyUse
from service.routes.dependencies import AppComponents, CurrentCaller
from service.routes.parameters import Owner
from service.schemas import Page

router = APIRouter(prefix="/usage", tags=["jobs"])


@router.get("")
def get_usage(
    components: AppComponents,
    caller: CurrentCaller,
    days: Annotated[int, Query(ge=1, le=366, description="Days up to today, in UTC.")] = 7,
    owner: Owner = None,
) -> Page[DailyUse]:
    """List the device-seconds and jobs of each owner and day, the newest day first. They stay when
    jobs are deleted."""
    return Page(data=components.sharing.use(caller, days, owner), next=None)
