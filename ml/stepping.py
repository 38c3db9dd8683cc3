"""How optimisation steps run: each engine does the same steps in the way that suits the device.

`resident`  the data lies on the device as it came, and each batch is gathered there
`streamed`  the data does not fit there, and batches are brought by background workers
`+by-hand` on a CPU a chain of simple layers is gone back through without autograd
`+graph`    on a GPU whole steps are captured once and replayed, several at a launch
`+compile`  the network is compiled first, where the spec asks for it

What comes out differs by float rounding at most.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ml import divergence
from ml.backpropagation import LOSS_SLOPES, Chain, chain
from ml.datasets import Rows

if TYPE_CHECKING:
    from ml.training import Run

Placement = Literal["resident", "streamed"]
Launch = Callable[[], None]
Capture = Callable[["Run", Launch], Launch]

RESIDENT_SHARE = 0.5
"""Of a GPU's free memory: data that takes more is streamed."""
STREAM_WORKERS = 2
UNROLLED = 8
"""Steps in one launch of a graph."""
LONGEST_STRIDE = 128
"""Steps between two looks at the loss, and at what is wished of the job, on a GPU."""


class Losses(NamedTuple):
    """What some steps lost."""

    rows: float
    """Sum over their rows."""
    steps: float
    """Sum over the steps."""


def place(rows: Rows, device: torch.device) -> Placement:
    """Return where the training rows should lie."""
    if device.type != "cuda":
        return "resident"
    free, _ = torch.cuda.mem_get_info(device)
    size = rows.inputs.nbytes + rows.targets.nbytes
    return "resident" if size <= RESIDENT_SHARE * free else "streamed"


def stepper(run: "Run") -> "Stepper":
    """Return the engine for a run."""
    if run.placement == "streamed":
        return Plain(run, Stream(run.train, run.spec.batch_size, run.device))
    resident, spec = Resident(run.train, run.spec.batch_size), run.spec
    if spec.detect_anomaly:
        return Plain(run, resident)
    if run.device.type == "cuda":
        return Graphed(run, resident)
    if spec.precision == "bfloat16" or spec.compile:
        return Plain(run, resident)
    links = chain(run.model, min(spec.batch_size, len(run.train)))
    return ByHand(run, links) if links else Plain(run, resident)


class Source(ABC):
    """Where batches come from."""

    placement: Placement

    @abstractmethod
    def begin(self, order: Tensor, batch: int) -> None:
        """Take rows in `order` (rows,) from now on, starting with batch number `batch`."""

    @abstractmethod
    def take(self) -> Rows:
        """Return the next batch, on the device; it is good until the next is taken."""


class Resident(Source):
    """Rows on the device, gathered into the same memory for every batch."""

    placement = "resident"

    def __init__(self, rows: Rows, batch_size: int, together: int = 1) -> None:
        """`together` is how many batches are taken at once at most."""
        self.rows = rows
        self.batch_size = batch_size
        size = min(batch_size * together, len(rows))
        self._inputs = rows.inputs.new_empty((size, *rows.inputs.shape[1:]))
        self._targets = rows.targets.new_empty((size, *rows.targets.shape[1:]))
        self._order: Tensor
        """Of the rows that are left."""

    def begin(self, order: Tensor, batch: int) -> None:
        """Take rows in `order`."""
        self._order = order.to(self.rows.inputs.device)[batch * self.batch_size :]

    def take(self, together: int = 1) -> Rows:
        """Return the next batch, or so many in one."""
        size = together * self.batch_size
        index, self._order = self._order[:size], self._order[size:]
        inputs, targets = self._inputs[: len(index)], self._targets[: len(index)]
        torch.index_select(self.rows.inputs, 0, index, out=inputs)
        torch.index_select(self.rows.targets, 0, index, out=targets)
        return Rows(inputs, targets)


class Stream(Source):
    """Rows in the machine's memory, or mapped from its disk, gathered by workers ahead of time."""

    placement = "streamed"

    def __init__(self, rows: Rows, batch_size: int, device: torch.device) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._device = device
        self._batches: Iterator[tuple[Tensor, Tensor]]

    def begin(self, order: Tensor, batch: int) -> None:
        """Take rows in `order`."""
        loader = DataLoader(
            _Gathered(self._rows),
            sampler=torch.split(order, self._batch_size)[batch:],
            batch_size=None,
            num_workers=STREAM_WORKERS if self._device.type == "cuda" else 0,
            pin_memory=self._device.type == "cuda",
            # It would draw from the generator that the network draws from.
            generator=torch.Generator(),
        )
        self._batches = iter(loader)

    def take(self) -> Rows:
        """Return the next batch."""
        inputs, targets = next(self._batches)
        return Rows(
            inputs.to(self._device, non_blocking=True), targets.to(self._device, non_blocking=True)
        )


class _Gathered(TorchDataset[tuple[Tensor, Tensor]]):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        batch = self._rows.at(index)
        return batch.inputs, batch.targets


class Stepper(ABC):
    """Does optimisation steps on a run's model."""

    engine: str
    stride: int
    """How many steps it is worth doing at a time."""

    @abstractmethod
    def begin(self, order: Tensor, batch: int) -> None:
        """Take the training rows in `order` from now on, starting with batch number `batch`."""

    @abstractmethod
    def advance(self, count: int) -> Losses:
        """Do the next `count` steps.

        Raises:
            Diverged: the loss became NaN or infinite.
        """


class Plain(Stepper):
    """One step after the other, each checked."""

    stride = 1

    def __init__(self, run: "Run", source: Source) -> None:
        self._run = run
        self._source = source
        self.engine = source.placement + ("+compile" if run.spec.compile else "")

    def begin(self, order: Tensor, batch: int) -> None:
        """Take the training rows in `order`."""
        self._source.begin(order, batch)

    def advance(self, count: int) -> Losses:
        """Do the next `count` steps."""
        rows = steps = 0.0
        for _ in range(count):
            batch = self._source.take()
            loss = self._step(batch)
            rows += loss * len(batch)
            steps += loss
        return Losses(rows, steps)

    def _step(self, batch: Rows) -> float:
        run, where = self._run, self._run.where()
        with torch.autograd.set_detect_anomaly(run.spec.detect_anomaly):
            loss = run.loss(batch)
            value = loss.item()
            if not math.isfinite(value):
                raise divergence.diagnose(loss, run.model, batch.inputs, where)
            run.optimizer.zero_grad()
            divergence.backward(loss, where)
        run.step_optimizer()
        run.note_steps(1)
        return value


class ByHand(Stepper):
    """As plain, but what autograd would find out at each step is known beforehand, and what depends
    on no weights is made for several steps at once."""

    def __init__(self, run: "Run", chain: Chain) -> None:
        self._run = run
        self._chain = chain
        self._source = Resident(run.train, run.spec.batch_size, chain.ahead)
        self.stride = chain.ahead
        self.engine = f"{self._source.placement}+by-hand"

    def begin(self, order: Tensor, batch: int) -> None:
        """Take the training rows in `order`."""
        self._source.begin(order, batch)

    @torch.no_grad()
    def advance(self, count: int) -> Losses:
        """Do the next `count` steps."""
        run, chain, loss_of = self._run, self._chain, LOSS_SLOPES[self._run.spec.loss]
        rows = steps = 0.0
        taken = self._source.take(count)
        batches = taken.split(run.spec.batch_size)
        for batch, inputs in zip(batches, chain.prepare(taken.inputs), strict=True):
            loss, gradient = loss_of(chain.forward(inputs), batch.targets)
            value = loss.item()
            if not math.isfinite(value):
                raise divergence.diagnose(loss, run.model, batch.inputs, run.where())
            chain.backward(gradient)
            run.step_optimizer()
            run.note_steps(1)
            rows += value * len(batch)
            steps += value
        return Losses(rows, steps)


class Graphed(Stepper):
    """Whole steps (gather, forward, backward, update, sums) captured in CUDA graphs and replayed.

    The order of the rows, the position in it, the learning rate and the sums of the losses live on
    the device, so that nothing is said to it between two replays. The loss is looked at once a
    stride; if it went bad, the stride is done again plainly from where it began, to tell where.
    """

    stride = LONGEST_STRIDE

    def __init__(
        self,
        run: "Run",
        source: Resident,
        capture: Capture | None = None,
        unrolled: int = UNROLLED,
    ) -> None:
        self._run = run
        self._plain = Plain(run, source)
        self._rows = source.rows
        self._order = torch.arange(len(source.rows), device=run.device)
        self._position = torch.zeros((), dtype=torch.int64, device=run.device)
        self._offsets = torch.arange(source.batch_size, device=run.device)
        self._sums = torch.zeros((), dtype=torch.float64, device=run.device)
        self._capture = capture or captured
        # A learning rate that changes after each step is written between two launches.
        self._unrolled = 1 if run.schedule.every == "step" else unrolled
        self._launches: dict[int, Launch] = {}
        self.engine = f"{source.placement}+graph" + ("+compile" if run.spec.compile else "")

    def begin(self, order: Tensor, batch: int) -> None:
        """Take the training rows in `order`."""
        self._epoch = order, batch
        self._order.copy_(order)
        self._position.fill_(batch * len(self._offsets))

    def advance(self, count: int) -> Losses:
        """Do the next `count` steps."""
        run, size = self._run, len(self._offsets)
        before = copy.deepcopy(run.state_dict())
        batch = run.progress.batch
        full = min(count, len(self._rows) // size - batch)
        self._sums.zero_()
        self._position.fill_(batch * size)
        left = full
        while left:
            launched = self._unrolled if left >= self._unrolled else 1
            self._launch(launched)
            run.note_steps(launched)
            left -= launched
        steps = self._sums.item()
        losses = Losses(steps * size, steps)
        if not math.isfinite(steps):
            run.load_state_dict(before)
            # The graphs hold on to the optimizer's state that was just replaced.
            self._launches.clear()
            losses = self._plainly(full)
        if full < count:
            last = self._plainly(count - full)
            losses = Losses(losses.rows + last.rows, losses.steps + last.steps)
        return losses

    def _plainly(self, count: int) -> Losses:
        order, _ = self._epoch
        self._plain.begin(order, self._run.progress.batch)
        return self._plain.advance(count)

    def _launch(self, steps: int) -> None:
        if steps not in self._launches:
            counters = (self._position, self._sums)
            kept = [counter.clone() for counter in counters]
            self._launches[steps] = self._capture(self._run, lambda: self._steps(steps))
            for counter, value in zip(counters, kept, strict=True):
                counter.copy_(value)
        self._launches[steps]()

    def _steps(self, steps: int) -> None:
        for _ in range(steps):
            index = torch.index_select(self._order, 0, self._position + self._offsets)
            loss = self._run.loss(self._rows.at(index))
            self._run.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._run.step_optimizer()
            self._sums += loss.detach()
            self._position += len(self._offsets)


def captured(run: "Run", steps: Launch) -> Launch:
    """Return what replays `steps`, captured in a CUDA graph; the run is where it was before.

    PyTorch asks for a few rounds on another stream first, which are undone in place: a graph
    remembers where tensors lie, not what they are called.
    """
    weights = copy.deepcopy(run.model.state_dict())
    states = {
        parameter: {name: copy.deepcopy(value) for name, value in state.items()}
        for parameter, state in run.optimizer.state.items()
    }
    random = torch.cuda.get_rng_state(run.device)
    stream = torch.cuda.Stream(run.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(run.device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            steps()
    torch.cuda.current_stream(run.device).wait_stream(stream)
    run.model.load_state_dict(weights)
    for parameter, state in run.optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                # What the first step makes is made of zeros.
                value.copy_(states[parameter][name]) if parameter in states else value.zero_()
    torch.cuda.set_rng_state(random, run.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        steps()
    return graph.replay
