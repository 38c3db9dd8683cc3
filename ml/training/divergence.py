"""Diagnosis of divergence: find the first tensor with NaN or infinite elements."""

import warnings

import torch
from torch import Tensor, nn

from ml.errors import Diverged

REMEDY = "A lower learning rate, or inputs of a smaller range, usually helps"


def is_bad(tensor: Tensor) -> bool:
    """Return whether any element is NaN or infinite."""
    return tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())


def first_bad_tensor(model: nn.Module, inputs: Tensor) -> str:
    """Name the first tensor that is not finite, in the order of computation.

    Call this after a forward pass on `inputs` with a bad loss and before gradients are cleared, so
    that they are still those of the previous step.
    """
    if is_bad(inputs):
        return "the inputs of the batch"
    for name, parameter in model.named_parameters():
        if is_bad(parameter):
            if parameter.grad is not None and is_bad(parameter.grad):
                return f"the gradient of {name} in the previous step"
            return f"the parameter {name} after the update of the previous step"
    return _first_bad_output(model, inputs) or "the loss itself"


def _first_bad_output(model: nn.Module, inputs: Tensor) -> str | None:
    bad: list[str] = []
    handles = [
        module.register_forward_hook(
            lambda module, _inputs, output, name=name: (
                bad.append(f"the output of {name} ({type(module).__name__})")
                if is_bad(output)
                else None
            )
        )
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else None


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
    """Return the error for a `loss` that is not finite. With anomaly detection, it includes
    autograd's report."""
    message = (
        f"the loss became {loss.item()} at {where}; the first tensor that is not finite is "
        f"{first_bad_tensor(model, inputs)}. {REMEDY}"
    )
    if torch.is_anomaly_enabled():
        try:
            backward(loss, where)
        except Diverged as error:
            message = f"{message}\n{error}"
    return Diverged(message)


def backward(loss: Tensor, where: str) -> None:
    """Run `loss.backward()`.

    Raises:
        Diverged: anomaly detection is on and a backward function returned NaN; the message contains
            `where` and the traceback of the forward call.
    """
    if not torch.is_anomaly_enabled():
        loss.backward()  # type: ignore[no-untyped-call]
        return
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            # Autograd reports the forward call's traceback in a warning, not in the error.
            traceback = "\n".join(str(warning.message) for warning in heard)
            raise Diverged(f"{error} at {where}\n{traceback}") from error
