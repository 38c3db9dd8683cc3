"""The route of devices."""

from fastapi import APIRouter

from ml import devices
from service import memory
from service.access.caller import Caller
from service.jobs.sharing import OnTrainer
from service.jobs.sharing_schemas import Device, MemoryUse
from service.routes.dependencies import AppComponents, CurrentCaller
from service.schemas import Page
from service.training.roster import Place

router = APIRouter(prefix="/devices", tags=["jobs"])


@router.get("")
def get_devices(components: AppComponents, caller: CurrentCaller) -> Page[Device]:
    """List the places for trainers, with the device, the job and the pace of each. Several places
    may share a GPU, and all on the CPU share the machine."""
    running, memories = components.sharing.on_trainers(), _memories()
    return Page(
        data=[
            _device(place, running.get(place.trainer or ""), memories.get(place.device), caller)
            for place in components.roster.read()
        ],
        next=None,
    )


def _device(
    place: Place, runs: OnTrainer | None, memory_use: MemoryUse | None, caller: Caller
) -> Device:
    seen = runs if runs is not None and caller.may_see(runs.owner) else None
    waits = "starting" if place.trainer is None else "idle"
    return Device(
        trainer=place.number,
        device=place.device,
        state=waits if runs is None else runs.state,
        job=seen and seen.job_id,
        owner=seen and seen.owner,
        steps_per_second=runs and runs.steps_per_second,
        memory=memory_use,
    )


def _memories() -> dict[str, MemoryUse]:
    """Return the memory of each device that the driver or the system tells of."""
    totals = devices.total_bytes()
    found = {
        f"cuda:{index}": MemoryUse(used=used, total=totals[index])
        for index, used in devices.used_bytes().items()
        if index in totals
    }
    if (machine := memory.machine_memory()) is not None:
        found["cpu"] = MemoryUse(used=machine[0], total=machine[1])
    return found
