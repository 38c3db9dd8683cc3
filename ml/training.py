"""The training loop, which can stop between any two steps and go on elsewhere to the same end."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from ml import stepping
from ml.datasets import Dataset, Rows
from ml.errors import Invalid
from ml.evaluation import evaluate
from ml.losses import LOSSES
from ml.snapshots import Snapshots
from ml.specs import TrainingSpec
from ml.stepping import Placement
from ml.updates import Direct


@dataclass(frozen=True)
class Report:
    """Figures measured on the way.

    At level `step`: `loss`, the mean over the steps since the report before. At level `epoch`:
    `train_loss`, the mean over the epoch's rows, `lr`, the learning rate of its last step, and the
    validation split's figures. At level `fold`, whose number stands for epoch and step: the figures
    of a cross-validation's fold.
    """

    level: Literal["step", "epoch", "fold"]
    epoch: int
    step: int
    values: dict[str, float]


@dataclass
class Progress:
    """Where a run is, and the sums that its next reports are made of."""

    epoch: int = 1
    """The epoch that runs, or runs next."""
    batch: int = 0
    """Batches of it that are done."""
    step: int = 0
    epoch_loss: float = 0.0
    """Sum over the rows of this epoch."""
    recent_loss: float = 0.0
    """Sum over the steps since the last step report."""
    recent_steps: int = 0
    lr: float = math.nan
    """The learning rate of the last step."""
    best_loss: float = math.inf
    """The lowest watched loss of an epoch."""
    best_epoch: int = 0
    """The epoch that had it."""


class Run:
    """A training run between two steps: the model, and all that its future depends on.

    Raises:
        Invalid: the model cannot learn from batches of the size that the spec asks for.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        spec: TrainingSpec,
        device: torch.device,
        placement: Placement | None = None,
    ) -> None:
        self.spec = spec
        self.data = data
        self.signature = data.signature
        self.device = device
        self.model = model.to(device)
        if device.type == "cuda" and spec.precision != "float32":
            # Tensor cores take the channels of a pixel side by side.
            self.model = self.model.to(memory_format=torch.channels_last)
        _check_last_batch(model, len(data.train), spec.batch_size)
        self.placement = placement or stepping.place(data.train, device)
        resident = self.placement == "resident"
        self.train = data.train.to(device) if resident else data.train
        self.validation = data.validation.to(device) if data.validation else None
        self.optimizer = spec.optimizer.build(self.model.parameters(), device)
        self._update = Direct(self.optimizer) if device.type == "cpu" else self.optimizer.step
        self.schedule = spec.schedule.build(
            spec.optimizer.lr, spec.epochs, steps_per_epoch(spec, data)
        )
        self.schedule.apply(self.optimizer)
        self.order = Generator().manual_seed(spec.seed)
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] | None = None
        self.snapshots = Snapshots(data, spec.epochs)
        self.stepper = stepping.stepper(self)
        self._forward = torch.compile(self.model) if spec.compile else self.model

    def loss(self, batch: Rows) -> Tensor:
        """Return the loss of a batch, in the spec's precision."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.spec.precision == "bfloat16"
        ):
            return LOSSES[self.spec.loss](self._forward(batch.inputs), batch.targets)

    def step_optimizer(self) -> None:
        """Change the weights along the gradients."""
        if self.spec.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_grad_norm)
        self._update()

    def where(self) -> str:
        """Name the next step, as errors do."""
        return f"epoch {self.progress.epoch}, step {self.progress.step + 1}"

    def note_steps(self, count: int) -> None:
        """Count steps that are done, and turn to the learning rate of the next."""
        self.progress.lr = self.schedule.lr
        for _ in range(count):
            self.schedule.after_step(self.optimizer)
        self.progress.batch += count
        self.progress.step += count

    def state_dict(self) -> dict[str, Any]:
        """Return the state, tensors and plain values only; the tensors are the run's own."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
            "progress": asdict(self.progress),
            "best_weights": self.best_weights,
            "curves": self.snapshots.curves,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, in this process's random generators too."""
        self.model.load_state_dict(state["model"])
        # All that stands beside an optimizer's state is the spec's, or the schedule's.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.schedule.load_state_dict(state["schedule"])
        self.schedule.apply(self.optimizer)
        # Generators keep their state on the CPU, wherever the tensors were put.
        self.order.set_state(state["order"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if self._on_cuda and state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"].cpu(), self.device)
        self.progress = Progress(**state["progress"])
        self.best_weights = state["best_weights"]
        # Checkpoints of earlier versions have none.
        self.snapshots.curves = state.get("curves", {})

    @property
    def kept_epoch(self) -> int:
        """How many epochs the weights have seen that the model has at the end."""
        done = self.progress.epoch - 1
        return self.progress.best_epoch if self.best_weights is not None else done

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"


def resolve_device(name: str) -> torch.device:
    """Return the device a spec's `device` means on this machine; `auto` prefers a GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def steps_per_epoch(spec: TrainingSpec, data: Dataset) -> int:
    """Return the number of optimisation steps in one epoch; the last batch may be smaller."""
    return math.ceil(len(data.train) / spec.batch_size)


def build(spec: TrainingSpec, data: Dataset) -> nn.Module:
    """Return the model at its start: fitted preprocessing, then a network whose initial weights
    are a function of the seed. Seeds every random generator of this process."""
    torch.manual_seed(spec.seed)
    model = nn.Sequential()
    model.add_module("preprocessing", copy.deepcopy(data.preprocessing))
    model.add_module("network", spec.model.build(data.signature))
    return model


def fit(run: Run, between_steps: Callable[[Run], None] = lambda run: None) -> Iterator[Report]:
    """Train `run.model` in place, yielding reports as they fall due.

    `between_steps` is called before every step, or where a GPU does many at once before each of
    these, when `run.state_dict()` is whole; what it raises ends the training.

    Raises:
        Diverged: the loss became NaN or infinite.
    """
    _set_precision(run.spec)
    steps, report_every = math.ceil(len(run.train) / run.spec.batch_size), run.spec.report_every
    if run.progress.step == 0:
        run.snapshots.note(run.model, epoch=0)
    while run.progress.epoch <= run.spec.epochs and not _is_patience_over(run):
        run.model.train()
        # A run that goes on within an epoch draws the epoch's order again.
        before = run.order.get_state()
        order = torch.randperm(len(run.train), generator=run.order)
        run.order.set_state(before)
        run.stepper.begin(order, run.progress.batch)
        while (left := steps - run.progress.batch) > 0:
            between_steps(run)
            to_report = report_every - run.progress.step % report_every
            count = min(run.stepper.stride, left, to_report)
            losses = run.stepper.advance(count)
            run.progress.epoch_loss += losses.rows
            run.progress.recent_loss += losses.steps
            run.progress.recent_steps += count
            if count == to_report:
                yield _step_report(run)
        torch.randperm(len(run.train), generator=run.order)
        yield _end_epoch(run)
    if run.best_weights is not None:
        run.model.load_state_dict(run.best_weights)


def _check_last_batch(model: nn.Module, rows: int, batch_size: int) -> None:
    normalised = any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()
    )
    if normalised and 1 in (batch_size, rows % batch_size):
        raise Invalid(
            f"batches of {batch_size} leave one of {rows} rows for the last, which batch "
            "normalisation cannot learn from; use another size",
            ("batch_size",),
        )


def _set_precision(spec: TrainingSpec) -> None:
    """Have this process's GPU compute in TensorFloat-32 only where the spec asks for it."""
    torch.backends.cuda.matmul.allow_tf32 = spec.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = spec.precision == "tf32"


def _step_report(run: Run) -> Report:
    progress = run.progress
    loss = progress.recent_loss / progress.recent_steps
    progress.recent_loss, progress.recent_steps = 0.0, 0
    return Report("step", progress.epoch, progress.step, {"loss": loss})


def _end_epoch(run: Run) -> Report:
    """Measure the epoch, remember its weights if they are the best so far, and turn to the next."""
    progress = run.progress
    values = {
        "train_loss": progress.epoch_loss / len(run.train),
        "lr": progress.lr,
    }
    if run.validation is not None:
        loss_of = LOSSES[run.spec.loss]
        figures = evaluate(run.model, run.validation, run.signature, loss_of)
        values |= {f"validation_{name}": figure for name, figure in figures.items()}
    # A loss that is not finite is left out of the figures.
    watched = values.get("train_loss" if run.validation is None else "validation_loss", math.inf)
    if watched < progress.best_loss - run.spec.min_delta:
        progress.best_loss, progress.best_epoch = watched, progress.epoch
        if run.spec.keep_best:
            state = run.model.state_dict()
            run.best_weights = {name: tensor.clone() for name, tensor in state.items()}
    run.snapshots.note(run.model, progress.epoch)
    run.schedule.after_epoch(watched, run.optimizer)
    report = Report("epoch", progress.epoch, progress.step, values)
    run.progress = replace(progress, epoch=progress.epoch + 1, batch=0, epoch_loss=0.0)
    return report


def _is_patience_over(run: Run) -> bool:
    patience, progress = run.spec.patience, run.progress
    finished = progress.epoch - 1
    return patience is not None and finished - progress.best_epoch > patience
