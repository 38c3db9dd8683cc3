"""Learning-rate schedules at their edges."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, lr_scheduler

from ml.schedules import (
    ConstantSpec,
    Cosine,
    CosineSpec,
    OneCycleSpec,
    PlateauSpec,
    Schedule,
    StepSpec,
)


def rates(schedule: Schedule, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(schedule.lr)
        schedule.after_step()
    return found


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 10, 49, 50, 100, 1000])
def test_cycle_may_peak_at_its_first_step(steps: int) -> None:
    for warmup in (1 / steps, math.nextafter(1 / steps, 0), math.nextafter(1 / steps, 1)):
        found = rates(OneCycleSpec(warmup=warmup).build(0.1, 1, steps), steps)
        assert found[0] == max(found) == pytest.approx(0.1)
        assert found[-1] == pytest.approx(0.1 / 25 / 1e4)


def test_cycle_of_one_step_has_the_full_rate() -> None:
    schedule = OneCycleSpec().build(0.1, 1, 1)
    assert rates(schedule, 1) == [0.1]
    schedule.after_epoch(1.0)


@pytest.mark.parametrize("min_lr", [0.0, 0.01])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_cosine_equals_that_of_torch(steps: int, min_lr: float) -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    expected = lr_scheduler.CosineAnnealingLR(optimizer, steps, min_lr)
    schedule = CosineSpec(min_lr=min_lr).build(0.1, 1, steps)
    for _ in range(steps):
        assert schedule.lr == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimizer.step()
        expected.step()
        schedule.after_step()
    assert schedule.lr == pytest.approx(min_lr, abs=1e-15)


def test_cosine_over_a_billion_steps_ends_at_its_lowest_rate() -> None:
    steps = 10**9
    scheduler = Cosine(SGD([nn.Parameter(torch.zeros(1))], lr=0.1), steps, 0.0)
    for step in (steps - 1, steps):
        scheduler.last_epoch = step
        [rate] = scheduler.get_lr()
        assert 0 <= rate < 1e-9


def test_plateau_lowers_small_rates_too() -> None:
    schedule = PlateauSpec(patience=0, factor=0.5).build(1e-9, 3, 1)
    for expected in (1e-9, 5e-10, 2.5e-10):
        schedule.after_epoch(1.0)
        assert schedule.lr == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "unwarmed"),
    [
        (ConstantSpec(warmup=0.4), ConstantSpec()),
        (StepSpec(step_size=1, warmup=0.4), StepSpec(step_size=1)),
        (CosineSpec(warmup=0.4), CosineSpec()),
        (PlateauSpec(patience=0, warmup=0.4), PlateauSpec(patience=0)),
    ],
    ids=repr,
)
def test_warm_up_rises_to_the_schedule(spec: Any, unwarmed: Any) -> None:
    found, scheduled = ([], [])
    for schedule, rates_of in ((spec, found), (unwarmed, scheduled)):
        built = schedule.build(0.1, 2, 5)
        for _ in range(2):
            rates_of += rates(built, 5)
            built.after_epoch(1.0)
    shares = [rate / full for rate, full in zip(found, scheduled, strict=True)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1.0] * 6)


def test_shortest_warm_up_has_a_step() -> None:
    assert rates(ConstantSpec(warmup=1e-9).build(0.1, 1, 3), 3) == pytest.approx([0.05, 0.1, 0.1])


@pytest.mark.parametrize("threshold", [0.0, 0.1, 1.0])
def test_loss_of_plateau_falls_as_that_of_patience_does(threshold: float) -> None:
    """A loss has fallen if it is lower than the last that had by more than the threshold."""
    losses = [5.0, 4.95, 4.9, 4.2, 3.2, 3.1, 3.15, 2.0]
    schedule = PlateauSpec(patience=0, factor=0.5, threshold=threshold).build(1.0, 8, 1)
    best, expected = math.inf, 1.0
    for loss in losses:
        fell = loss < best - threshold  # as in ml.training.loop
        best, expected = (loss, expected) if fell else (best, expected / 2)
        schedule.after_epoch(loss)
        assert schedule.lr == expected


def test_state_of_an_earlier_version_is_continued() -> None:
    schedule = PlateauSpec(patience=0, factor=0.5).build(1.0, 8, 1)
    state = schedule.state_dict()
    del state["steps_done"]
    state["scheduler"] |= {"threshold": 0.5, "threshold_mode": "rel"}
    schedule.load_state_dict(state)
    for loss, expected in ((1.0, 1.0), (0.6, 0.5), (0.4, 0.5)):
        schedule.after_epoch(loss)
        assert schedule.lr == expected
