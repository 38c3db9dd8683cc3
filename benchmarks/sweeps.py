"""Cost per model of training many small models at once, compared with training one model alone.

    python -m benchmarks.sweeps [--device cuda] [--steps N] [--rounds 5] [--json FILE]

Each model is a 784-32-10 perceptron trained on the same images in its own order, in batches of 64.
The time spans from the spec to the trained weights. On a GPU this includes captures, so the default
number of steps is high, which also gives the clocks time to rise.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ml import devices
from ml.datasets import Dataset, Rows
from ml.preprocessing import Standardize
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run
from ml.training.sweeps import fit_together

MODELS = (1, 8, 64)
STEPS = {"cpu": 100, "cuda": 4000}
BATCH_SIZE = 64
DOCUMENT: dict[str, Any] = {
    "dataset": {"kind": "mnist"},
    "model": {"kind": "mlp", "hidden": [32]},
    "batch_size": BATCH_SIZE,
    "epochs": 1,
    "report_every": 1_000_000,
}


def specs(count: int) -> list[TrainingSpec]:
    return [TrainingSpec.of(DOCUMENT | {"seed": seed}) for seed in range(count)]


def alone(data: Dataset, device: torch.device) -> None:
    [spec] = specs(1)
    for _ in loop.train(Run(build(spec, data), data, spec, device)):
        pass


def seconds_of(contender: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    contender()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = devices.resolve(options.device)
    steps = options.steps or STEPS[device.type]
    total = steps * BATCH_SIZE
    rows = Rows(
        torch.randint(0, 256, (total, 28, 28), dtype=torch.uint8),
        torch.randint(0, 10, (total,)),
    )
    signature = specs(1)[0].dataset.signature()
    normalisation = Standardize(torch.tensor(0.1307), torch.tensor(0.3081), unit=255.0)
    data = Dataset(signature, normalisation, rows, None, None)
    contenders: dict[int, Callable[[], object]] = {0: lambda: alone(data, device)}
    for count in MODELS:
        contenders[count] = partial(fit_together, specs(count), data, device)
    seconds: dict[int, list[float]] = {count: [] for count in contenders}
    for contender in contenders.values():
        contender()
    for _ in range(options.rounds):
        for count, contender in contenders.items():
            seconds[count].append(seconds_of(contender, device))
    one = statistics.median(seconds[0])
    for count, measured in seconds.items():
        median = statistics.median(measured)
        print(
            f"{f'{count} as one' if count else 'one alone':10}"
            f"{1e6 * median / steps:9,.0f} µs a step {median / one:7.2f} of one alone"
            f"{median / one / max(1, count):7.2f} for each"
        )
    if options.json:
        measured = {"device": str(device), "steps": steps, "seconds": seconds}
        options.json.write_text(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
