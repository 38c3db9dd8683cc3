"""Admission of a training request: the limits of this machine and of its operator."""

import os
from dataclasses import dataclass

from ml import devices
from ml.datasets.job_warnings import job_warnings
from ml.datasets.uploads import Uploads
from ml.errors import Invalid
from ml.ingest.warning import DataWarning
from ml.specs import TrainingRequest, TrainingSpec, resolve
from ml.training import feasibility
from ml.training.footprint import Footprint, culprit, footprint
from service import memory
from service.errors import Unprocessable
from service.settings import Settings

GIB = 1024**3


@dataclass(frozen=True)
class Admitted:
    """A request that can run, resolved, and the warnings about it."""

    spec: TrainingSpec
    warnings: list[DataWarning]


def admit(request: TrainingRequest, uploads: Uploads, settings: Settings) -> Admitted:
    """Resolve a request's body and check that it can run here.

    Raises:
        Unprocessable: the request cannot be resolved, the model is too large or does not fit the
            data, the run cannot be trained or fit into memory, or the device does not exist.
    """
    try:
        spec = resolve(request, uploads)
        need = footprint(spec)
        _check_parameters(need, settings.max_parameters)
        feasibility.check(spec)
        devices.resolve(spec.device)
        _check_memory(spec, need)
        warnings = job_warnings(request.dataset, spec.dataset, spec.split, uploads)
    except Invalid as error:
        raise Unprocessable.at(error, "body") from None
    return Admitted(spec, warnings)


def check_threads(threads: int | None) -> None:
    """Check that this machine has a core for each of a job's threads.

    Raises:
        Unprocessable: it has not.
    """
    cores = len(os.sched_getaffinity(0))
    if threads is not None and threads > cores:
        only = f"this machine has {cores} core{'s' if cores > 1 else ''}; choose at most {cores}"
        raise Unprocessable.at(Invalid(only), "body", "threads")


def _check_parameters(need: Footprint, limit: int) -> None:
    if need.parameters > limit:
        raise Invalid(
            f"the model would have {need.parameters:,} parameters; this service allows {limit:,} "
            "(EPOCHD_MAX_PARAMETERS)",
            ("model",),
        )


def _check_memory(spec: TrainingSpec, need: Footprint) -> None:
    there = _memory_of(spec.device)
    if there is None or need.total <= there:
        return
    raise Invalid(
        f"training would take at least {_gib(need.total)} of memory, {_gib(need.weights)} for "
        f"weights and the optimizer and {_gib(need.activations)} for a batch; "
        f"the device, {spec.device}, has {_gib(there)}; use a smaller batch_size or model",
        culprit(spec, need),
    )


def _memory_of(device: str) -> int | None:
    """Return the memory of the largest device that may run a job for `device`; None if unknown."""
    count = devices.gpu_count()
    if device == "cpu" or (device == "auto" and not count):
        return memory.machine_bytes()
    totals = devices.total_bytes()
    # A trainer takes `auto` and `cuda` for a GPU of its own, which may be any.
    wanted = [int(device.removeprefix("cuda:"))] if ":" in device else range(count)
    known = [totals[index] for index in wanted if index in totals]
    return max(known) if len(known) == len(wanted) else None


def _gib(size: int) -> str:
    return f"{size / GIB:,.1f} GiB"
