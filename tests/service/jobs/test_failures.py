"""Exceptions explained to the submitter of a job."""

import pytest
import torch

from ml.errors import Diverged
from service.jobs.failures import explain


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out_of_memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "internal"),
    ],
    ids=str,
)
def test_errors_are_explained(error: Exception, kind: str) -> None:
    explained = explain(error)
    assert explained.kind == kind
    # A traceback helps only with internal errors.
    assert (explained.traceback is None) == (kind != "internal")


@pytest.mark.parametrize("forward_call", ["Forward call (most recent call last): …", None])
def test_divergence_has_the_forward_call(forward_call: str | None) -> None:
    explained = explain(Diverged("the loss became nan", forward_call))
    assert (explained.kind, explained.message) == ("diverged", "the loss became nan")
    assert explained.traceback == forward_call
