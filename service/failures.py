"""What an exception in a trainer means to the person who submitted the job."""

import traceback

import torch

from ml.errors import DataUnavailable, Diverged, Invalid
from service.schemas import JobError


def explain(error: BaseException) -> JobError:
    """Return the job's error for an exception that ended its attempt."""
    match error:
        case Diverged():
            return JobError(kind="diverged", message=str(error))
        case DataUnavailable():
            return JobError(kind="data_unavailable", message=str(error))
        case Invalid():
            where = f"{'.'.join(map(str, error.loc))}: " if error.loc else ""
            return JobError(kind="invalid", message=where + error.msg)
        case _ if _is_out_of_memory(error):
            return JobError(
                kind="out_of_memory",
                message=f"out of memory; use a smaller batch_size, model or data set ({error})",
            )
    return JobError(
        kind="internal",
        message=f"{type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
    )


def died(exit_code: int) -> JobError:
    """Return the job's error for a trainer process that ended under it."""
    if exit_code == -9:
        return JobError(
            kind="trainer_died",
            message="the trainer process was killed (signal 9), which is what the kernel does "
            "when the machine runs out of memory; use a smaller batch_size, model or data set",
        )
    return JobError(
        kind="trainer_died", message=f"the trainer process ended with exit code {exit_code}"
    )


def _is_out_of_memory(error: BaseException) -> bool:
    # The CPU allocator has no exception of its own.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
