"""Backpropagation by hand through a chain of layers, into memory that is used again at each step.

For small batches on a CPU autograd's own account of what it does takes a good part of the time. So
does the beginning of each operation, since the weights of a layer push all else out of the caches:
what depends on no weights is therefore done for several steps at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.dropout import Dropout, Dropped, factors_ahead
from ml.losses import LossName
from ml.preprocessing import Encode, Standardize

aten = torch.ops.aten
Slope = Callable[[Tensor, Tensor, Tensor], Any]
"""From the gradient of the outputs, the inputs and the outputs to the gradient of the inputs."""

STEPS_AHEAD = 8
BYTES_AHEAD = 4 << 20
"""Of what is made for several steps at once. More would not stay in a cache."""
PRODUCTS_AHEAD = 1 << 30
"""Multiplications of their forward passes: some tenths of a second, in which nobody looks at what
is wished of the job. Where a step takes long there is little to gain."""

SLOPES: dict[type[nn.Module], Slope] = {
    nn.LeakyReLU: lambda gradient, x, y: aten.leaky_relu_backward(gradient, x, 0.01, False),
    nn.GELU: lambda gradient, x, y: aten.gelu_backward(gradient, x),
    nn.SiLU: lambda gradient, x, y: aten.silu_backward(gradient, x),
    nn.ELU: lambda gradient, x, y: aten.elu_backward(gradient, 1, 1, 1, True, y),
    nn.Tanh: lambda gradient, x, y: aten.tanh_backward(gradient, y),
    nn.Sigmoid: lambda gradient, x, y: aten.sigmoid_backward(gradient, y),
}


def _squared(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs - targets
    return error.square().mean(), error * (2 / error.numel())


def _absolute(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs - targets
    return error.abs().mean(), error.sign() / error.numel()


def _huber(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs - targets
    return functional.huber_loss(outputs, targets), error.clamp(-1, 1) / error.numel()


def _cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    rows, classes = outputs.shape
    logs = torch.log_softmax(outputs, 1)
    loss = functional.nll_loss(logs, targets)
    truth = _subtracted(classes, rows).index_select(0, targets)
    return loss, torch.add(truth, logs.exp_(), alpha=1 / rows)


@lru_cache
def _subtracted(classes: int, rows: int) -> Tensor:
    """Return what each true class adds to the gradient `(softmax(outputs) - one_hot) / rows`."""
    return torch.eye(classes).div_(-rows)


LOSS_SLOPES: dict[LossName, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "mse": _squared,
    "mae": _absolute,
    "huber": _huber,
    "cross_entropy": _cross_entropy,
}
"""From outputs and targets to the loss and its gradient."""


class Link(ABC):
    """A layer that remembers what it needs to go back."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(batch, ...)`, good until the next call."""

    @abstractmethod
    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs; write those of the parameters into `.grad`."""


class Affine(Link):
    """`y = W x + b`."""

    def __init__(self, layer: nn.Linear, batch_size: int, is_first: bool) -> None:
        self._weight, self._bias = layer.weight.detach(), layer.bias.detach()
        layer.weight.grad, layer.bias.grad = map(torch.zeros_like, (self._weight, self._bias))
        self._weight_gradient, self._bias_gradient = layer.weight.grad, layer.bias.grad
        self._outputs = torch.empty(batch_size, layer.out_features)
        self._gradient = torch.empty(batch_size, layer.in_features)
        self._is_first = is_first

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs = self._outputs[: len(inputs)]
        return torch.addmm(self._bias, inputs, self._weight.t(), out=outputs)

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        torch.mm(gradient.t(), self._inputs, out=self._weight_gradient)
        torch.sum(gradient, 0, out=self._bias_gradient)
        if self._is_first:
            return gradient  # nobody asks for that of the data
        return torch.mm(gradient, self._weight, out=self._gradient[: len(gradient)])


class Rectified(Link):
    """`max(x, 0)`, in place of its inputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._outputs = inputs.relu_()
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        return aten.threshold_backward(gradient, self._outputs, 0)  # type: ignore[no-any-return]


class Activation(Link):
    """A function of each number."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._slope = SLOPES[type(layer)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs: Tensor = self._layer(inputs)
        self._outputs = outputs
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        answer: Tensor = self._slope(gradient, self._inputs, self._outputs)
        return answer


class Drop(Link):
    """Dropout, with the factors of some steps to come."""

    def __init__(self, layer: Dropout, batch_size: int, width: int) -> None:
        self._p = layer.p
        self._width = width
        self._outputs = torch.empty(batch_size, width)
        self._ahead: Iterator[Tensor]

    def at(self, rows: int) -> Dropped:
        """Return what is dropped of a batch of so many rows."""
        return Dropped(torch.Size((rows, self._width)), self._p)

    def take(self, factors: Tensor) -> None:
        """Use `factors` (steps, batch, width) from now on."""
        self._ahead = iter(factors)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what is left."""
        self._factors = next(self._ahead)
        return torch.mul(inputs, self._factors, out=self._outputs[: len(inputs)])

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of what was left, in place."""
        return gradient.mul_(self._factors)


class Chain:
    """A network as links, behind what encodes its inputs."""

    def __init__(
        self, encode: nn.Module, links: list[Link], batch_size: int, width: int, parameters: int
    ) -> None:
        """`width` is that of an encoded row, `parameters` how many numbers the links learn."""
        self._encode = encode
        self._links = links
        self._drops = [link for link in links if isinstance(link, Drop)]
        self._batch_size = batch_size
        made = batch_size * width + sum(drop.at(batch_size).shape.numel() for drop in self._drops)
        self.ahead = max(
            1,
            min(
                STEPS_AHEAD,
                BYTES_AHEAD // (made * torch.float32.itemsize),
                PRODUCTS_AHEAD // (batch_size * parameters),
            ),
        )
        """How many steps to prepare at once."""

    def prepare(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield the inputs of some steps to come, batch by batch, given raw `rows` (rows, ...); the
        last batch may be smaller. Each goes forward before the next is asked for."""
        batches = self._encode(rows).flatten(1).split(self._batch_size)
        whole = len(rows) // self._batch_size
        self._draw(self._batch_size, whole)
        yield from batches[:whole]
        for rest in batches[whole:]:
            self._draw(len(rest), 1)
            yield rest

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for encoded `inputs` (batch, width)."""
        outputs = inputs
        for link in self._links:
            outputs = link.forward(outputs)
        return outputs

    def backward(self, gradient: Tensor) -> None:
        """Write the gradient of every parameter, given that of the outputs."""
        for link in reversed(self._links):
            gradient = link.backward(gradient)

    def _draw(self, rows: int, steps: int) -> None:
        factors = factors_ahead([drop.at(rows) for drop in self._drops], steps)
        for drop, own in zip(self._drops, factors, strict=True):
            drop.take(own)


def chain(model: nn.Module, batch_size: int) -> Chain | None:
    """Return a chain of the layers of `model`, preprocessing and network, sharing its parameters;
    None if some layer is not of a kind that is known here."""
    preprocessing, network = model.get_submodule("preprocessing"), model.get_submodule("network")
    if not isinstance(preprocessing, Standardize | Encode | nn.Identity):
        return None
    if not isinstance(network, nn.Sequential) or not isinstance(network[0], nn.Flatten):
        return None
    _, *layers = network
    links: list[Link] = []
    affine = [layer for layer in layers if isinstance(layer, nn.Linear)]
    width = 0
    for layer in layers:
        if isinstance(layer, nn.Linear):
            width = layer.out_features
            links.append(Affine(layer, batch_size, is_first=not links))
        elif type(layer) is nn.ReLU:
            links.append(Rectified())
        elif type(layer) in SLOPES:
            links.append(Activation(layer))
        elif isinstance(layer, Dropout):
            links.append(Drop(layer, batch_size, width))
        else:
            return None
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Chain(preprocessing, links, batch_size, affine[0].in_features, parameters)
