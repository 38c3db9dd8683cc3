"""Manual backpropagation through a chain of layers, into memory reused at each step.

For small batches, autograd's bookkeeping and the overhead of each operation dominate; operations
that do not depend on the weights are therefore batched over several steps. The results equal those
of autograd bit for bit, since each step calls the same functions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ml.datasets import Rows
from ml.dropout import Dropout, Dropped, factors_ahead
from ml.preprocessing import Encode, Standardize
from ml.training.engines.base import Batch, CudaSideStream, Passes, SideStream
from ml.training.engines.manual_losses import LossLayer, loss_layer
from ml.training.run import Run

aten = torch.ops.aten
BackwardFunction = Callable[[Tensor, Tensor, Tensor], Any]
"""Maps output gradient, inputs and outputs to the input gradient."""

STEPS_AHEAD = 8
BYTES_AHEAD = 4 << 20
"""Bound on the data prepared for several steps at once, so that it fits a CPU's cache."""
PRODUCTS_AHEAD = 1 << 30
"""Bound on the multiplications of their forward passes: a few tenths of a second without a check
for requests to the job. Slow steps gain little from preparation."""

BACKWARD_FUNCTIONS: dict[type[nn.Module], BackwardFunction] = {
    nn.LeakyReLU: lambda gradient, x, y: aten.leaky_relu_backward(gradient, x, 0.01, False),
    nn.GELU: lambda gradient, x, y: aten.gelu_backward(gradient, x),
    nn.SiLU: lambda gradient, x, y: aten.silu_backward(gradient, x),
    nn.ELU: lambda gradient, x, y: aten.elu_backward(gradient, 1, 1, 1, False, x),
    nn.Tanh: lambda gradient, x, y: aten.tanh_backward(gradient, y),
    nn.Sigmoid: lambda gradient, x, y: aten.sigmoid_backward(gradient, y),
}


class ManualLayer(ABC):
    """A layer that stores the tensors its backward pass needs."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(batch, ...)`, valid until the next call."""

    @abstractmethod
    def backward(self, gradient: Tensor) -> Tensor:
        """Return the input gradient; write the parameter gradients into `.grad`."""


class Affine(ManualLayer):
    """`y = W x + b`."""

    def __init__(
        self, layer: nn.Linear, batch_size: int, is_first: bool, side_stream: SideStream
    ) -> None:
        self._weight, self._bias = layer.weight.detach(), layer.bias.detach()
        layer.weight.grad, layer.bias.grad = map(torch.zeros_like, (self._weight, self._bias))
        self._weight_gradient, self._bias_gradient = layer.weight.grad, layer.bias.grad
        self._outputs = self._weight.new_empty(batch_size, layer.out_features)
        self._gradient = self._weight.new_empty(batch_size, layer.in_features)
        self._is_first = is_first
        self._side_stream = side_stream

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs = self._outputs[: len(inputs)]
        return torch.addmm(self._bias, inputs, self._weight.t(), out=outputs)

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        self._received = gradient  # kept alive until the side stream has read it
        with self._side_stream:
            torch.mm(gradient.t(), self._inputs, out=self._weight_gradient)
            torch.sum(gradient, 0, out=self._bias_gradient)
        if self._is_first:
            return gradient  # the gradient of the data is not needed
        return torch.mm(gradient, self._weight, out=self._gradient[: len(gradient)])


class AffineReLU(Affine):
    """`max(W x + b, 0)`, which a GPU computes in one kernel."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs = self._outputs[: len(inputs)]
        aten._addmm_activation.out(self._bias, inputs, self._weight.t(), out=outputs)
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        outputs = self._outputs[: len(gradient)]
        aten.threshold_backward.grad_input(gradient, outputs, 0, grad_input=gradient)
        return super().backward(gradient)


class Activation(ManualLayer):
    """An elementwise function."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._backward = BACKWARD_FUNCTIONS[type(layer)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs: Tensor = self._layer(inputs)
        self._outputs = outputs
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        answer: Tensor = self._backward(gradient, self._inputs, self._outputs)
        return answer


class ManualDropout(ManualLayer):
    """Dropout on a CPU, with factors drawn for several steps ahead."""

    def __init__(self, p: float, batch_size: int, width: int) -> None:
        self._p = p
        self._width = width
        self._outputs = torch.empty(batch_size, width)
        self._ahead: Iterator[Tensor]

    def at(self, rows: int) -> Dropped:
        """Return the shape and probability of dropout for a batch of `rows` rows."""
        return Dropped(torch.Size((rows, self._width)), self._p)

    def take(self, factors: Tensor) -> None:
        """Use `factors` (steps, batch, width) for the next steps."""
        self._ahead = iter(factors)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs after dropout."""
        self._factors = next(self._ahead)
        return torch.mul(inputs, self._factors, out=self._outputs[: len(inputs)])

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs, computed in place."""
        return gradient.mul_(self._factors)


class DeviceDropout(ManualLayer):
    """Dropout on a GPU, in one kernel that draws and multiplies."""

    def __init__(self, p: float) -> None:
        self._p = p

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs after dropout."""
        outputs, self._mask = torch.native_dropout(inputs, self._p, train=True)
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs, computed in place."""
        aten.native_dropout_backward.out(gradient, self._mask, 1 / (1 - self._p), out=gradient)
        return gradient


class ManualNetwork(Passes):
    """Both passes through a network of supported layers, on encoded inputs."""

    suffix = "+manual"

    def __init__(
        self,
        run: Run,
        layers: list[ManualLayer],
        loss: LossLayer,
        width: int,
        side_stream: SideStream,
    ) -> None:
        """`width` is the width of an encoded row."""
        super().__init__(run, side_stream)
        self._layers = layers
        self._loss_layer = loss
        self._drops = [layer for layer in layers if isinstance(layer, ManualDropout)]
        batch = min(run.spec.batch_size, len(run.train))
        made = batch * width + sum(drop.at(batch).shape.numel() for drop in self._drops)
        products = batch * sum(parameter.numel() for parameter in run.model.parameters())
        limits = BYTES_AHEAD // (made * torch.float32.itemsize), PRODUCTS_AHEAD // products
        self.steps_ahead = max(1, min(STEPS_AHEAD, *limits))

    def prepare(self, rows: Rows) -> Iterator[Batch]:
        """Yield the batches of the next steps."""
        size = self.run.spec.batch_size
        whole = len(rows) // size * size
        encoded = self.run.encode(rows.inputs).flatten(1)
        for start, end, batch in ((0, whole, size), (whole, len(rows), len(rows) - whole)):
            if start == end:
                continue
            self._draw(batch, (end - start) // batch)
            targets = rows.targets[start:end]
            self._aims = self._loss_layer.aims(targets, batch)
            inputs = torch.split(encoded[start:end], batch)
            yield from map(Batch, inputs, torch.split(targets, batch))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss."""
        outputs = batch.inputs
        for layer in self._layers:
            outputs = layer.forward(outputs)
        loss, self._gradient = self._loss_layer(outputs, batch, next(self._aims))
        return loss

    def backward(self) -> None:
        """Write the gradient into every `.grad`."""
        gradient = self._gradient
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient)

    def _draw(self, rows: int, steps: int) -> None:
        factors = factors_ahead([drop.at(rows) for drop in self._drops], steps)
        for drop, mask in zip(self._drops, factors, strict=True):
            drop.take(mask)


def manual_network(run: Run) -> ManualNetwork | None:
    """Return both passes for a run's network, sharing its parameters; None if a layer is not
    supported."""
    preprocessing, network = (run.model.get_submodule(n) for n in ("preprocessing", "network"))
    if not isinstance(preprocessing, Standardize | Encode | nn.Identity):
        return None
    if not isinstance(network, nn.Sequential):
        return None
    chain = [*network]
    if isinstance(chain[0], nn.Flatten):
        chain = chain[1:]
    elif run.signature.inputs.kind == "images":
        return None
    on_gpu = run.device.type == "cuda"
    side_stream = CudaSideStream(run.device) if on_gpu else SideStream()
    batch = min(run.spec.batch_size, len(run.train))
    layers: list[ManualLayer] = []
    width = 0
    for layer, after in zip(chain, [*chain[1:], None], strict=True):
        match layer:
            case nn.Linear() if layer.bias is not None:
                width = layer.out_features
                kind = AffineReLU if type(after) is nn.ReLU else Affine
                layers.append(kind(layer, batch, is_first=not layers, side_stream=side_stream))
            case nn.ReLU() if layers and type(layers[-1]) is AffineReLU:
                pass  # fused into the previous layer
            case Dropout() if layers:
                layers.append(
                    DeviceDropout(layer.p) if on_gpu else ManualDropout(layer.p, batch, width)
                )
            case _ if layers and type(layer) in BACKWARD_FUNCTIONS and _has_defaults(layer):
                layers.append(Activation(layer))
            case _:
                return None
    loss = loss_layer(run, width, side_stream)
    return ManualNetwork(run, layers, loss, run.signature.inputs.width, side_stream)


def _has_defaults(layer: nn.Module) -> bool:
    """Return whether an activation has torch's default options, which its backward function
    assumes."""
    return layer.extra_repr() == type(layer)().extra_repr()
