"""Answers of the service, as documents."""

from typing import Any

AT = "2026-01-02T03:04:05Z"
REF = {"name": "line", "version": 3}
JOB: dict[str, Any] = {
    "id": "job_1",
    "name": "line",
    "owner": None,
    "status": "running",
    "requested_action": None,
    "attempt": 1,
    "device": "cpu",
    "engine": None,
    "progress": {"epoch": 1, "epochs": 5, "step": 1, "steps": 5, "eta_seconds": None},
    "best_epoch": None,
    "stopped_by": None,
    "metrics": {"loss": 0.5},
    "warnings": [],
    "error": None,
    "model": None,
    "spec": {"dataset": {"kind": "mnist"}, "epochs": 5},
    "options": {},
    "not_before": None,
    "created_at": AT,
    "started_at": None,
    "finished_at": None,
}
DONE = JOB | {"status": "succeeded", "model": REF}
FAILED = JOB | {"status": "failed", "error": {"kind": "diverged", "message": "loss is NaN"}}
DATASET: dict[str, Any] = {
    "id": "ds_1",
    "name": "homes",
    "owner": None,
    "target": "price",
    "sha256": "00",
    "bytes": 10,
    "created_at": AT,
    "options": {},
    "contents": {"kind": "table", "rows": 3},
    "warnings": [],
}
MODEL: dict[str, Any] = REF | {
    "owner": None,
    "aliases": [],
    "created_at": AT,
    "structure": "Linear",
    "parameters": [{"name": "weight", "shape": [1, 1]}],
    "parameter_count": 2,
    "linear": None,
    "inputs": {},
    "output": {},
    "best_epoch": None,
    "stopped_by": None,
    "metrics": {"loss": 0.5},
    "lineage": {
        "job_id": "job_1",
        "spec": {},
        "data_sha256": "00",
        "weights_sha256": "00",
        "device": "cpu",
        "threads": 1,
        "cpu_capability": None,
        "torch_version": "2",
        "epochd_version": "0",
    },
}
ALIAS = REF | {"alias": "best", "updated_at": AT, "etag": '"1"'}
ME: dict[str, Any] = {
    "keys": False,
    "owner": None,
    "role": "admin",
    "key": None,
    "session": None,
    "models": [],
    "sees_all": True,
    "expires_at": None,
}
