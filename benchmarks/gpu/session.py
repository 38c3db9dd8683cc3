"""Context of a part: its device, its sizes and its results file."""

import os
import platform
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.gpu.runner import write

Value = TypeVar("Value")


class LeftOut(Exception):
    """The machine lacks a prerequisite of the part; the message names it."""


class Failed(Exception):
    """The part completed, and its result is a failure."""


@dataclass
class Session:
    """Context of a part, and the results file it writes."""

    device: torch.device
    quick: bool
    out: Path
    deadline: float
    results: dict[str, Any] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def pick(self, full: Value, quick: Value) -> Value:
        """Return the size for a full or a quick run."""
        return quick if self.quick else full

    def left(self) -> float:
        """Return the seconds left until the part's time limit."""
        return self.deadline - time.monotonic()

    def record(self, name: str, value: Any) -> None:
        """Save a result at once, in case the part is stopped later."""
        with self._writing:
            self.results[name] = value
            write(self.out, {"machine": machine(self.device), "results": self.results})

    def end(self, status: str, error: str | None = None) -> None:
        """Write the status of the part."""
        write(
            self.out,
            {
                "machine": machine(self.device),
                "results": self.results,
                "status": status,
                "error": error,
            },
        )


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine."""
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "gpus": torch.cuda.device_count() if on_gpu else 0,
        "cores": os.cpu_count(),
    }
