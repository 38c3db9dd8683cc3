"""The number of threads does not change the weights of a network of affine layers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.training import reproducibility
from tests.conftest import REPOSITORY

TRAIN = """
import torch
from ml.datasets import Dataset, Rows
from ml.preprocessing import Standardize
from ml.specs import TrainingSpec
from ml.training.loop import train
from ml.training.initial_model import build
from ml.training.run import Run

spec = TrainingSpec.of({"dataset": {"kind": "mnist"}, "epochs": 1, "clip_grad_norm": 1.0})
random = torch.Generator().manual_seed(0)
images = torch.randint(0, 256, (200, 28, 28), generator=random, dtype=torch.uint8)
layer = Standardize(torch.tensor(0.1), torch.tensor(0.3), unit=255.0)
rows = Rows(images, torch.arange(200) % 10)
data = Dataset(spec.dataset.signature(), layer, rows, None, None)
learned = []
for threads in (1, 2):
    torch.set_num_threads(threads)
    run = Run(build(spec, data), data, spec, torch.device("cpu"))
    list(train(run))
    learned.append(torch.nn.utils.parameters_to_vector(run.model.parameters()))
print(torch.equal(*learned))
"""


@pytest.mark.skipif(
    not reproducibility.environment(), reason="MKL promises it only on Intel CPUs with AVX2"
)
def test_threads_do_not_change_what_is_learned() -> None:
    given = os.environ | reproducibility.environment() | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", TRAIN]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("vendor", "flags", "is_set"),
    [
        ("GenuineIntel", "sse2 avx avx2 avx512f", True),
        ("GenuineIntel", "sse2 avx", False),
        ("AuthenticAMD", "sse2 avx avx2", False),
    ],
)
def test_products_are_strict_on_cpus_of_intel_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, flags: str, is_set: bool
) -> None:
    monkeypatch.delenv("MKL_CBWR", raising=False)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\n")
    assert bool(reproducibility.environment(cpuinfo)) == is_set
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert reproducibility.environment(cpuinfo) == {}


def test_machine_without_the_file_sets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MKL_CBWR", raising=False)
    assert reproducibility.environment(tmp_path / "none") == {}
