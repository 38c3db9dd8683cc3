"""Goals: bounds on the figures measured by the parts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

MNIST_EPOCHS_SECONDS = 0.6
NEAR_FLOOR = 1.5


class Floor(NamedTuple):
    """Lower bound of the time of a step at batch 4096 on an H100."""

    us: float
    source: str


FLOORS = {
    "bfloat16": Floor(30, "60-75 MB moved, half from L2, and 9.9 GFLOP on tensor cores: 25-30 µs"),
    "tf32": Floor(50, "the same at twice the bytes and half the rate: 45-50 µs"),
    "float32": Floor(205, "9.9 GFLOP without tensor cores, compute-bound: 205 µs and more"),
}


class Goal(NamedTuple):
    """An upper or lower bound on a figure."""

    text: str
    part: str
    path: tuple[str, ...]
    """Path of keys to the figure in the part's results."""
    bound: float
    source: str
    at_least: bool = False

    def verdict(self, measured: float | None) -> str:
        """Return `met`, `missed` or `not run`."""
        if measured is None:
            return "not run"
        good = measured >= self.bound if self.at_least else measured <= self.bound
        return "met" if good else "missed"


GOALS = (
    Goal(
        "times as fast as the tutorial's script, captured",
        "steps",
        ("times_the_script",),
        100,
        "the script on the same machine, at batch 64 in float32",
        at_least=True,
    ),
    Goal(
        "µs a step, batch 64, float32",
        "steps",
        ("64", "captured float32", "us"),
        60,
        "16 kernels of a captured step",
    ),
    Goal(
        "µs a step, batch 64, tf32",
        "steps",
        ("64", "captured tf32", "us"),
        40,
        "the same with products on tensor cores",
    ),
    Goal(
        "s for ten epochs of MNIST, batch 64, float32",
        "steps",
        ("64", "captured float32", "ten_epochs_s"),
        MNIST_EPOCHS_SECONDS,
        "9,380 steps of 60 µs",
    ),
    *(
        Goal(
            f"µs a step, batch 4096, {precision}",
            "steps",
            ("4096", f"captured {precision}", "us"),
            NEAR_FLOOR * floor.us,
            f"within {NEAR_FLOOR} times of the floor: {floor.source}",
        )
        for precision, floor in FLOORS.items()
    ),
    Goal(
        "64 models as one, times one model",
        "sweep",
        ("ratio",),
        4,
        "small models leave room on a GPU",
    ),
    Goal(
        "s from a request to the state in hand, 100 ms a step",
        "jobs",
        ("pause", "worst_s"),
        0.5,
        "a quarter of a second of steps, and the copy of the state",
    ),
    Goal(
        "MiB allocated after the last job beyond the third",
        "jobs",
        ("growth_mib",),
        1,
        "a finished job leaves nothing",
    ),
    Goal("tests of the engines that failed", "tests", ("failed",), 0, "all pass"),
    Goal("other tests that failed", "more tests", ("failed",), 0, "all pass"),
)


def verdicts(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compare every goal with `results`, the results by part name."""
    compared = []
    for goal in GOALS:
        measured = _at(results.get(goal.part, {}), goal.path)
        compared.append(
            {
                "goal": goal.text,
                "at_least" if goal.at_least else "at_most": goal.bound,
                "measured": measured,
                "verdict": goal.verdict(measured),
                "source": goal.source,
            }
        )
    return compared


def _at(results: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    found: Any = results
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return float(found)
