"""Exceptions in a trainer, explained to the submitter of the job."""

import errno
import traceback

from sqlalchemy.exc import OperationalError

from ml import devices
from ml.errors import Damaged, DataUnavailable, Diverged, Invalid
from service.jobs.schemas import JobError


class AttemptTimedOut(Exception):
    """The attempt reached its `timeout_seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the attempt reached its timeout_seconds of {seconds:g}")


STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
SERVICE_ENDED = JobError(kind="trainer_died", message="the service ended while the job ran")
LEASE_EXPIRED = JobError(
    kind="trainer_died", message="the trainer sent no heartbeat before its lease expired"
)
TRAINER_STUCK = JobError(
    kind="trainer_died",
    message="the trainer did not perform the requested action in time and was killed",
)


def explain(error: BaseException) -> JobError:
    """Return the job's error for an exception that ended its attempt."""
    match error:
        case Diverged():
            return JobError(kind="diverged", message=str(error), traceback=error.forward_call)
        case DataUnavailable():
            return JobError(kind="data_unavailable", message=str(error))
        case Damaged():
            return JobError(kind="data_unavailable", message=error.brief())
        case Invalid():
            return JobError(kind="invalid", message=error.with_place())
        case AttemptTimedOut():
            return JobError(kind="timeout", message=str(error))
        case OSError() if error.errno in STORAGE_ERRORS:
            return JobError(
                kind="storage", message=f"the data directory cannot be written: {error}"
            )
        case OperationalError() if "full" in str(error.orig) or "readonly" in str(error.orig):
            return JobError(kind="storage", message=f"the database cannot be written: {error.orig}")
        case _ if devices.is_out_of_memory(error):
            return JobError(
                kind="out_of_memory",
                message=f"out of memory; use a smaller batch_size, model or data set ({error})",
            )
    return JobError(
        kind="internal",
        message=f"{type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
    )


def device_lost(error: Exception, device: str) -> JobError:
    """Return the error of an attempt whose trainer process can no longer use `device`."""
    return JobError(
        kind="trainer_died",
        message=f"the trainer process can no longer use {device} after "
        f"{type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
    )


def trainer_died(exit_code: int, out_of_memory: bool = False) -> JobError:
    """Return the job's error for a trainer process that ended during its attempt, perhaps because
    the kernel killed it when memory ran out."""
    if out_of_memory:
        return JobError(
            kind="trainer_died",
            message="the kernel killed the trainer process because memory ran out; use a smaller "
            "batch_size, model or data set",
        )
    if exit_code == -9:
        return JobError(
            kind="trainer_died",
            message="the trainer process was killed (signal 9), as the kernel does when the "
            "machine runs out of memory; use a smaller batch_size, model or data set",
        )
    return JobError(
        kind="trainer_died", message=f"the trainer process ended with exit code {exit_code}"
    )
