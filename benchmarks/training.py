"""Cost of a training step: epochd compared with common training loops and with a lower bound.

All contenders train the MNIST network (784-512-256-10, dropout, Adam, batches of 64) on images of
its shape, in turn in one process, on one core or on OMP_NUM_THREADS cores. Prints medians and
ratios; `--json FILE` saves the times. On a GPU all compute in float32, not in TF32.

    python -m benchmarks.training [--device cuda] [--rounds 7] [--steps N] [--json FILE]

Contenders that are not installed are skipped: scikit-learn, JAX with optax, Lightning, Keras (`pip
install epochd[bench]`). No service is needed.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

from benchmarks.contenders import BATCH, CONTENDERS, THREADS, Contender, LeftOut

STEPS = {"cpu": 150, "cuda": 2000}
"""Steps per epoch, by device; on a GPU enough for its clocks to rise."""


def ready(images: Tensor, labels: Tensor, device: torch.device) -> Iterator[tuple[str, Contender]]:
    """Yield the installed contenders, warmed up."""
    for name, make in CONTENDERS.items():
        try:
            contender = make(images, labels, device)
        except (ImportError, LeftOut) as error:
            print(f"{name} skipped: {error}", file=sys.stderr)
            continue
        contender()
        yield name, contender


def seconds_of(contender: Contender, device: torch.device) -> float:
    """Return the seconds of an epoch, until the device has finished it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    contender()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--steps", type=int, help=", ".join(f"{STEPS[kind]} on {kind}" for kind in STEPS)
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    if options.device == "cpu" and hasattr(os, "sched_setaffinity"):
        # Not every contender has a setting for the number of threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    device = torch.device(options.device)
    steps = options.steps or STEPS[device.type]
    images = torch.randint(0, 256, (steps * BATCH, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 10, (len(images),))
    contenders = dict(ready(images, labels, device))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            seconds[name].append(seconds_of(contender, device))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base, us = medians["the matrix products alone"], medians["epochd, fit"]
    print(f"{'':28}{'µs a step':>10}{'of floor':>10}{'of epochd':>11}   fastest, slowest")
    for name, median in medians.items():
        low, high = (f"{1e6 * f(seconds[name]) / steps:,.0f}" for f in (min, max))
        print(
            f"{name:28}{1e6 * median / steps:10,.0f}{median / base:10.2f}"
            f"{median / us:11.2f}   {low}, {high}"
        )
    if options.json:
        record = {
            "device": str(device),
            "threads": THREADS,
            "torch": torch.__version__,
            "steps": steps,
            "seconds": seconds,
        }
        options.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
