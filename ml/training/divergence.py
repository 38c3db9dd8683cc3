"""Diagnosis of divergence: find the first tensor with NaN or infinite elements."""

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from ml.errors import Diverged

REMEDY = "A lower learning rate, or inputs of a smaller range, usually helps"

HERE = str(Path(__file__).parent)
LAYER = "layer"
"""Key of the name of a layer in the metadata of its outputs' autograd nodes."""
FRAME = re.compile(r'  File "(?P<path>[^"]*)"(?P<rest>.*)', re.DOTALL)
PLACE = re.compile(r".*/(site-packages/|(?=ml/))")
"""Beginning of a path, which says nothing outside this machine."""


class BadTensor(NamedTuple):
    """A tensor that is not finite."""

    name: str
    forward_call: str | None = None
    """Traceback of its computation, if anomaly detection recorded it."""


def is_bad(tensor: Tensor) -> bool:
    """Return whether any element is NaN or infinite."""
    return tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())


def first_bad_tensor(model: nn.Module, inputs: Tensor) -> BadTensor | None:
    """Return the first tensor that is not finite, in the order of computation; None if no layer
    returns one.

    Call this after a forward pass on `inputs` with a bad loss and before gradients are cleared, so
    that they are still those of the previous step.
    """
    if is_bad(inputs):
        return BadTensor("the inputs of the batch")
    for name, parameter in model.named_parameters():
        if is_bad(parameter):
            if parameter.grad is not None and is_bad(parameter.grad):
                return BadTensor(f"the gradient of {name} in the previous step")
            return BadTensor(f"the parameter {name} after the update of the previous step")
    return _first_bad_output(model, inputs)


def _first_bad_output(model: nn.Module, inputs: Tensor) -> BadTensor | None:
    bad: list[BadTensor] = []

    def look(layer: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if is_bad(output):
            bad.append(BadTensor(f"the output of {layer}", _forward_call(output.grad_fn)))

    handles = [
        module.register_forward_hook(partial(look, layer)) for layer, module in _layers(model)
    ]
    try:
        with torch.set_grad_enabled(torch.is_anomaly_enabled()):
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else None


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that consist of no others, each after its name and kind."""
    for name, module in model.named_modules():
        if not list(module.children()):
            yield f"{name} ({type(module).__name__})", module


def check_weights(network: nn.Module, epoch: int) -> None:
    """Check that the weights of a trained `network`, and its running statistics, are finite.

    Raises:
        Diverged: an update after the last loss made one NaN or infinite; `epoch` is its epoch.
    """
    for name, tensor in network.state_dict().items():
        if is_bad(tensor):
            raise Diverged(
                f"{name} is not finite after the last update of epoch {epoch}, whose loss was "
                f"still finite. {REMEDY}"
            )


def diagnose(loss: Tensor, model: nn.Module, inputs: Tensor, where: str) -> Diverged:
    """Return the error for a `loss` that is not finite, with the forward call of the first bad
    tensor if anomaly detection is on."""
    bad = first_bad_tensor(model, inputs)
    bad = bad or BadTensor("the loss itself", _forward_call(loss.grad_fn))
    message = (
        f"the loss became {loss.item()} at {where}; the first tensor that is not finite is "
        f"{bad.name}. {REMEDY}"
    )
    if torch.is_anomaly_enabled() and bad.forward_call is None:
        # Inputs and parameters have none: show the call that used them.
        bad = _first_bad_output(model, inputs) or bad
    return Diverged(message, bad.forward_call)


def name_layers(model: nn.Module) -> None:
    """Let the outputs of each layer know its name, so that `backward` can give it."""

    def name(layer: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.grad_fn is not None:
            _metadata(output.grad_fn)[LAYER] = layer

    for layer, module in _layers(model):
        module.register_forward_hook(partial(name, layer))


def backward(loss: Tensor, where: str) -> None:
    """Run `loss.backward()`.

    Raises:
        Diverged: anomaly detection is on and a backward function returned NaN; the message contains
            `where`, and the layer if `name_layers` was called before.
    """
    if not torch.is_anomaly_enabled():
        loss.backward()  # type: ignore[no-untyped-call]
        return
    faults = _watch(loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # autograd's report, which does not name the layer
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if not faults:
                raise
            layer, forward_call = faults[0]
            raise Diverged(
                f"a gradient became NaN at {where}, in the backward pass of {layer}: {error} "
                f"{REMEDY}",
                forward_call,
            ) from error


def _watch(loss: Tensor) -> list[BadTensor]:
    """Return a list that takes in the layers whose backward functions return NaN."""
    faults: list[BadTensor] = []

    def look(name: str, forward_call: str | None, found: Sequence[Tensor | None], _: Any) -> None:
        if any(gradient is not None and gradient.isnan().any() for gradient in found):
            faults.append(BadTensor(name, forward_call))

    left, seen = [(loss.grad_fn, "the loss")], set()
    while left:
        node, consumer = left.pop()
        if node is None or node in seen or hasattr(node, "variable"):
            continue  # a parameter's gradient is an output of the function before
        seen.add(node)
        layer = _metadata(node).get(LAYER, consumer)
        node.register_hook(partial(look, layer, _forward_call(node)))
        left += [(function, layer) for function, _ in node.next_functions]
    return faults


def _metadata(node: Node) -> dict[str, Any]:
    # Torch's types have it as a method.
    metadata: dict[str, Any] = node.metadata  # type: ignore[assignment]
    return metadata


def _forward_call(node: Node | None) -> str | None:
    """Return the traceback of the forward call that created `node`, from the network or the loss
    on; None if anomaly detection did not record it."""
    recorded = None if node is None else _metadata(node).get("traceback_")
    if recorded is None:
        return None
    frames = [frame for frame in map(FRAME.match, recorded) if frame]
    own = [number for number, frame in enumerate(frames) if frame["path"].startswith(HERE)]
    shown = [
        f'  File "{PLACE.sub("", frame["path"])}"{frame["rest"]}'
        for frame in frames[max(own, default=-1) + 1 :]
        if not frame["path"].endswith("/torch/nn/modules/module.py")
    ]
    return "".join(["Forward call (most recent call last):\n", *shown])
