"""Answers of the service.

Unknown fields are ignored and unknown kinds are plain texts, so that a later service does not break
an older client.
"""

from epochd.schemas.base import DataWarning, ModelRef, Page, Schema
from epochd.schemas.datasets import Batch, Batches, DatasetInfo, DatasetSummary, Preview, TensorPeek
from epochd.schemas.expressions import ExpressionResponse, ExpressionResult
from epochd.schemas.jobs import (
    ENDED,
    Attempt,
    ChartSummary,
    Event,
    JobError,
    JobInfo,
    LogRecord,
    MetricRecord,
    Progress,
)
from epochd.schemas.models import (
    DescribedLayer,
    Evaluation,
    Lineage,
    LinearFormula,
    ModelAlias,
    ModelDescription,
    ModelInfo,
    ModelSummary,
    Parameter,
    VersionInfo,
)
from epochd.schemas.predictions import Prediction, Predictions, PredictResponse
from epochd.schemas.service import AuditEntry, Health, Key, Me, NewKey, Readiness, Session
from epochd.schemas.sharing import DailyUse, Device, Held, MemoryUse, QueueEntry

__all__ = [
    "ENDED",
    "Attempt",
    "AuditEntry",
    "Batch",
    "Batches",
    "ChartSummary",
    "DailyUse",
    "DataWarning",
    "DatasetInfo",
    "DatasetSummary",
    "DescribedLayer",
    "Device",
    "Evaluation",
    "Event",
    "ExpressionResponse",
    "ExpressionResult",
    "Health",
    "Held",
    "JobError",
    "JobInfo",
    "Key",
    "Lineage",
    "LinearFormula",
    "LogRecord",
    "Me",
    "MemoryUse",
    "MetricRecord",
    "ModelAlias",
    "ModelDescription",
    "ModelInfo",
    "ModelRef",
    "ModelSummary",
    "NewKey",
    "Page",
    "Parameter",
    "PredictResponse",
    "Prediction",
    "Predictions",
    "Preview",
    "Progress",
    "QueueEntry",
    "Readiness",
    "Schema",
    "Session",
    "TensorPeek",
    "VersionInfo",
]
