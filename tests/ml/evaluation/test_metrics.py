"""Batches of an evaluation are bounded by their size and by available memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ml import devices
from ml.datasets import Rows
from ml.evaluation.evaluate import evaluate_split
from ml.evaluation.metrics import BATCH_ROWS, batch_rows, evaluate, in_batches, outputs
from ml.losses import LOSSES
from ml.signature import Classes, Features, Signature, Value

META = torch.device("meta")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 42.70 GiB"),
    RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


class Small(nn.Module):
    """A classifier on a device with memory for a limited number of rows."""

    def __init__(self, most: int, error: Exception = ERRORS[0]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.affine = nn.Linear(3, 4)
        self.most = most
        self.error = error
        self.sizes: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.append(len(inputs))
        if len(inputs) > self.most:
            raise self.error
        logits: Tensor = self.affine(inputs)
        return logits


NAMES = list("abcd")
CLASSES = Signature(inputs=Features(names=["x", "y", "z"]), output=Classes(names=NAMES))
LOSS = LOSSES["cross_entropy"]


def some_rows(count: int) -> Rows:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 3, generator=generator)
    return Rows(inputs, torch.randint(0, 4, (count,), generator=generator))


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    released: list[torch.device] = []
    monkeypatch.setattr(devices, "release_memory", released.append)
    return released


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((28, 28), 4096),
        ((1,), 4096),
        ((), 4096),
        ((784,), 4096),
        ((785,), 4090),
        ((3, 224, 224), 21),
        ((10**8,), 1),
    ],
)
def test_batches_are_bounded_in_rows_and_values(shape: tuple[int, ...], rows: int) -> None:
    assert batch_rows(torch.empty((1, *shape), device=META)) == rows


def test_rows_are_evaluated_in_order() -> None:
    sizes = []

    def forward(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return batch.sum(1, keepdim=True)

    inputs = torch.arange(3 * 784 * BATCH_ROWS // 2).view(-1, 3 * 784).float()
    assert torch.equal(in_batches(forward, inputs), inputs.sum(1, keepdim=True))
    assert sizes == [1365, 683]
    assert in_batches(forward, inputs[:0]).shape == (0, 1)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_batches_that_do_not_fit_are_halved(error: Exception, releases: list[torch.device]) -> None:
    rows, plain = some_rows(1000), Small(1000)
    model = Small(300, error)
    torch.testing.assert_close(outputs(model, rows.inputs), outputs(plain, rows.inputs))
    # The size that fits is used for the remaining batches.
    assert model.sizes == [1000, 500, 250, 250, 250, 250]
    assert releases == [torch.device("cpu")] * 2
    expected = evaluate(plain, rows, CLASSES, LOSS)
    assert evaluate(model, rows, CLASSES, LOSS) == pytest.approx(expected)
    found, whole = (
        evaluate_split(m, rows, CLASSES, LOSS, "test").evaluation for m in (model, plain)
    )
    assert found.figures() == pytest.approx(whole.figures())
    assert found.rows == 1000


def test_last_batch_is_halved_too(releases: list[torch.device]) -> None:
    def full_at_the_end(batch: Tensor) -> Tensor:
        if len(batch) == 10:
            raise ERRORS[0]
        return batch

    inputs = torch.zeros(BATCH_ROWS + 10, 3)
    assert len(in_batches(full_at_the_end, inputs)) == len(inputs)
    assert len(releases) == 1


@pytest.mark.parametrize("error", [*ERRORS, ValueError("of another kind")])
def test_out_of_memory_on_one_row_is_raised(error: Exception) -> None:
    model = Small(0, error)
    with pytest.raises(type(error), match=str(error)[:10]):
        outputs(model, some_rows(4).inputs)
    assert model.sizes == ([4, 2, 1] if error in ERRORS else [4])


def test_rows_may_be_on_another_device_than_the_model() -> None:
    moved: list[tuple[torch.device, int]] = []

    class Stopped(Exception):
        pass

    def stop(answers: Tensor, targets: Tensor) -> Tensor:
        moved.extend((tensor.device, len(tensor)) for tensor in (answers, targets))
        raise Stopped

    rows, model = some_rows(BATCH_ROWS + 10), Small(BATCH_ROWS).to(META)
    measures: list[Callable[[], object]] = [
        lambda: evaluate(model, rows, CLASSES, stop),
        lambda: evaluate_split(model, rows, CLASSES, stop, "test"),
    ]
    for measure in measures:
        with pytest.raises(Stopped):
            measure()
    assert moved == [(META, BATCH_ROWS + 10)] * 2 + [(META, BATCH_ROWS)] * 2
    assert model.sizes == [BATCH_ROWS, 10, BATCH_ROWS]


@pytest.mark.parametrize("output", [Classes(names=NAMES), Value(name="v", offset=1e3, scale=0.1)])
def test_low_precision_outputs_are_measured_in_full_precision(output: Classes | Value) -> None:
    class Coarse(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs[:, : output.size].bfloat16()

    class Rounded(Coarse):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs).float()

    inputs = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    classes = inputs.argmax(1)
    is_value = isinstance(output, Value)
    rows = Rows(inputs, inputs[:, :1] if is_value else classes)
    signature = Signature(inputs=Features(names=NAMES), output=output)
    loss = LOSSES["huber" if is_value else "cross_entropy"]
    assert evaluate(Coarse(), rows, signature, loss) == evaluate(Rounded(), rows, signature, loss)
    coarse, rounded = (
        evaluate_split(m(), rows, signature, loss, "test") for m in (Coarse, Rounded)
    )
    assert coarse.evaluation == rounded.evaluation
    assert outputs(Coarse(), inputs).dtype == torch.float32
