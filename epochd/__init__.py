"""A client of epochd, which trains and serves PyTorch models over HTTP.

from epochd import Client

client = Client()
job = client.train(dataset="mnist", epochs=2).wait()
job.model().predict("digit.png")
"""

from epochd.aio import AsyncClient, AsyncDataset, AsyncJob, AsyncModel
from epochd.client import Client, Dataset, Job, Model
from epochd.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Damaged,
    DeadlineExceeded,
    EpochdError,
    Fault,
    Forbidden,
    InsufficientStorage,
    Invalid,
    NotFound,
    PreconditionFailed,
    ServiceNotReached,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnsupportedMediaType,
)
from epochd.objects import JobFailed

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncDataset",
    "AsyncJob",
    "AsyncModel",
    "BadRequest",
    "Client",
    "Conflict",
    "Damaged",
    "Dataset",
    "DeadlineExceeded",
    "EpochdError",
    "Fault",
    "Forbidden",
    "InsufficientStorage",
    "Invalid",
    "Job",
    "JobFailed",
    "Model",
    "NotFound",
    "PreconditionFailed",
    "ServiceNotReached",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UnsupportedMediaType",
]
