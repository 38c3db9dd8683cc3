"""Step time of the MNIST network with autograd and `optimizer.step()`, with autograd and the fused
update, and with manual passes and the fused update.

    python -m benchmarks.engines [--device cuda] [--rounds 15] [--steps 150] [--json FILE]

All variants train in turn in one process, on one core or on OMP_NUM_THREADS cores.
"""

import argparse
import json
import os
import statistics
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

from benchmarks.contenders import BATCH, DOCUMENT, THREADS, Contender, dataset
from benchmarks.training import seconds_of
from ml.specs import TrainingSpec
from ml.training.batches import Resident
from ml.training.engines.base import Autograd, Passes
from ml.training.engines.eager import EagerEngine
from ml.training.engines.manual_backward import manual_network
from ml.training.initial_model import build
from ml.training.loop import train
from ml.training.run import Run


class OptimizerStep(Autograd):
    """Autograd with the update of `torch.optim`."""

    def update(self, rate: float | Tensor, withheld: Tensor | None = None) -> None:
        [group] = self.run.optimizer.param_groups
        group["lr"] = rate
        self.run.optimizer.step()


def manual(run: Run) -> Passes:
    passes = manual_network(run)
    assert passes is not None
    return passes


PASSES = {
    "autograd, optimizer.step()": OptimizerStep,
    "autograd, fused update": Autograd,
    "by hand, fused update": manual,
}


def contender(name: str, images: Tensor, labels: Tensor, device: torch.device) -> Contender:
    spec = TrainingSpec.of(DOCUMENT | {"epochs": 1_000_000})
    data = dataset(images, labels)
    run = Run(build(spec, data), data, spec, device)
    passes = PASSES[name](run)
    batches = Resident(run.train, spec.batch_size, passes.steps_ahead)
    reports = train(run, EagerEngine(run, batches, passes))

    def epoch() -> None:
        while next(reports).level != "epoch":
            pass

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    device = torch.device(options.device)
    images = torch.randint(0, 256, (options.steps * BATCH, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 10, (len(images),))
    contenders = {name: contender(name, images, labels, device) for name in PASSES}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for epoch in contenders.values():
        epoch()
    for _ in range(options.rounds):
        for name, epoch in contenders.items():
            seconds[name].append(seconds_of(epoch, device))
    last = statistics.median(seconds["by hand, fused update"])
    print(f"{'':28}{'µs a step':>10}{'of by hand':>12}   fastest, slowest")
    for name, measured in seconds.items():
        median = statistics.median(measured)
        low, high = (f"{1e6 * f(measured) / options.steps:,.0f}" for f in (min, max))
        print(
            f"{name:28}{1e6 * median / options.steps:10,.0f}{median / last:12.2f}   {low}, {high}"
        )
    if options.json:
        record = {"device": str(device), "threads": THREADS, "torch": torch.__version__}
        options.json.write_text(json.dumps(record | {"seconds": seconds}, indent=2))


if __name__ == "__main__":
    main()
