"""Profile of one step of the MNIST network: its kernels, their time, and the idle time."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.fits import WARM_STEPS, Fit, digits, epochs_of, seconds, spec
from benchmarks.gpu.session import Session

CASES = ((64, "float32"), (64, "tf32"), (4096, "bfloat16"))
OPTIMIZER = re.compile("adam|multi_tensor_apply", re.IGNORECASE)
WAITS = re.compile("Sync$|Stream Wait Event")
"""Events that the profiler lists as GPU work although they do none."""
TOP = 15
NAME_LENGTH = 110


class Kernel(NamedTuple):
    """A span of time on the device, in µs."""

    name: str
    start: float
    end: float


def measure(session: Session) -> None:
    # CUDA graphs break when the profiler detaches from the driver and attaches again, and graphs
    # captured before the first attachment show no kernels.
    os.environ |= {"TEARDOWN_CUPTI": "0", "DISABLE_CUPTI_LAZY_REINIT": "1"}
    with profile(activities=activities(session.device)):
        torch.zeros(1, device=session.device)
    for batch, precision in CASES:
        profiled(session, batch, precision)


def profiled(session: Session, batch: int, precision: str) -> None:
    device = session.device
    steps = session.pick(512 if batch == 64 else 128, 2)
    size = session.pick(batch, min(batch, 256))
    fit = Fit(spec(batch_size=size, precision=precision), digits(steps * size), device)
    fit.epochs(epochs_of(session.pick(WARM_STEPS, 1), steps))
    unprofiled = seconds(lambda: fit.epochs(1), device)
    with profile(activities=activities(device)) as profiler:
        seconds(lambda: fit.epochs(1), device)
    found = summarise(kernels(profiler, device), steps)
    found |= {"engine": fit.engine, "us_unprofiled": 1e6 * unprofiled / steps}
    session.record(f"{batch} {precision}", found)
    show(f"batch {batch}, {precision}, {fit.engine}", found)


def activities(device: torch.device) -> list[ProfilerActivity]:
    """Return the activities to profile: on a GPU, not the host's, which would slow it down."""
    return [ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]


def kernels(profiler: profile, device: torch.device) -> list[Kernel]:
    """Return the work on the device: kernels, copies and fills on a GPU; the outermost operations
    on a CPU."""
    on_gpu = device.type == "cuda"
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    return [
        Kernel(event.name, event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type == wanted
        and not WAITS.search(event.name)
        # User annotations overlap the kernels launched within them.
        and not getattr(event, "is_user_annotation", False)
        and (on_gpu or event.cpu_parent is None)
    ]


def summarise(ran: Sequence[Kernel], steps: int) -> dict[str, Any]:
    """Return the average figures of a step over `steps` steps; times in µs."""
    if not ran:
        raise RuntimeError("the profiler recorded no work on the device")
    times: dict[str, list[float]] = defaultdict(list)
    for kernel in ran:
        times[kernel.name].append(kernel.end - kernel.start)
    busiest = sorted(times, key=lambda name: sum(times[name]), reverse=True)
    optimizer = [name for name in times if OPTIMIZER.search(name)]
    span = max(kernel.end for kernel in ran) - min(kernel.start for kernel in ran)
    return {
        "kernels": len(ran) / steps,
        "us": span / steps,
        "us_idle": (span - busy(ran)) / steps,
        "us_optimizer": sum(sum(times[name]) for name in optimizer) / steps,
        "optimizer_kernels": sum(len(times[name]) for name in optimizer) / steps,
        "top": [
            {
                "name": name[:NAME_LENGTH],
                "us": sum(times[name]) / steps,
                "kernels": len(times[name]) / steps,
            }
            for name in busiest[:TOP]
        ],
    }


def busy(ran: Sequence[Kernel]) -> float:
    """Return the time during which at least one kernel ran."""
    total, until = 0.0, float("-inf")
    for kernel in sorted(ran, key=lambda kernel: kernel.start):
        total += max(0.0, kernel.end - max(kernel.start, until))
        until = max(until, kernel.end)
    return total


def show(title: str, found: dict[str, Any]) -> None:
    print(
        f"{title}: {found['kernels']:.1f} kernels a step, {found['us']:.1f} µs, of which "
        f"{found['us_idle']:.1f} idle and {found['us_optimizer']:.1f} in the optimizer "
        f"({found['optimizer_kernels']:.2f} kernels); {found['us_unprofiled']:.1f} µs unprofiled"
    )
    for kernel in found["top"]:
        print(f"  {kernel['us']:8.2f} µs {kernel['kernels']:6.2f} x {kernel['name']}")
