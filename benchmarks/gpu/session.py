"""What a part is given: its device, its sizes, and the file that keeps what it finds."""

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
    """This machine lacks what the part needs; says what that is."""


class Failed(Exception):
    """The part ran to its end, and what it found is a failure."""


@dataclass
class Session:
    """What a part is given, and the file to which it writes."""

    device: torch.device
    quick: bool
    out: Path
    deadline: float
    results: dict[str, Any] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def pick(self, full: Value, quick: Value) -> Value:
        """Return the size to work with."""
        return quick if self.quick else full

    def left(self) -> float:
        """Return the seconds until the part is cut."""
        return self.deadline - time.monotonic()

    def record(self, name: str, value: Any) -> None:
        """Keep a result, should the part be cut after it."""
        with self._writing:
            self.results[name] = value
            write(self.out, {"machine": machine(self.device), "results": self.results})

    def end(self, status: str, error: str | None = None) -> None:
        """Write how the part ended."""
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
    """Describe what was measured on."""
    on_gpu = device.type == "cuda" and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "gpus": torch.cuda.device_count() if on_gpu else 0,
        "cores": os.cpu_count(),
    }
