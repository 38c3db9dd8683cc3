"""A trained model on disk: `model.safetensors` and `model.json`, which hold data, never code, and
the checksums of both."""

import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ml import __version__, preprocessing
from ml.devices import is_out_of_memory
from ml.errors import Damaged
from ml.files import sync, write
from ml.integrity import CHECKSUMS, checked, is_sealed, read_document, seal
from ml.models import FittedNetwork, Linear, stored_model
from ml.models.linear_fits import Affine
from ml.preprocessing import Encode, Standardize
from ml.signature import Classes, Features, Signature, Value
from ml.specs import TrainingSpec

WEIGHTS = "model.safetensors"
MANIFEST = "model.json"


class Parameter(BaseModel):
    """One learned tensor."""

    name: str
    shape: list[int]


class LinearFormula(BaseModel):
    """A linear model of named features, in the units of the data: `weights . features + bias`.

    A category is 1 under `feature=value`; a missing number is 0, and `feature is missing` is 1.
    """

    weights: dict[str, float]
    bias: float


class Manifest(BaseModel):
    """Everything about a trained model except its weights."""

    model_config = ConfigDict(protected_namespaces=())

    format: Literal[1, 2] = 2
    """From 2 on, the directory has checksums."""
    signature: Signature
    spec: dict[str, Any]
    """The `TrainingSpec` as of training. It is not validated again, so old manifests stay readable
    when the rules become stricter."""
    structure: str
    parameters: list[Parameter]
    parameter_count: int
    linear: LinearFormula | dict[str, LinearFormula] | None
    """Formula of a linear regression; of several targets, of each by its name."""
    metrics: dict[str, float]
    targets: dict[str, dict[str, float]] | None = None
    """Metrics of each of several targets on the test rows, by its name."""
    data_sha256: str
    weights_sha256: str
    best_epoch: int | None = None
    """Epoch with the lowest monitored loss."""
    stopped_by: str | None = None
    """Reason why training stopped early: `patience` or `max_seconds`; None if it did not."""
    torch_version: str
    epochd_version: str
    device: str
    threads: int | None = None
    """PyTorch threads of the process that saved the model."""
    cpu_capability: str | None = None
    """Instruction set of PyTorch's kernels there, such as `AVX2`."""


def save_model(
    directory: Path,
    model: nn.Module,
    spec: TrainingSpec,
    signature: Signature,
    metrics: dict[str, float],
    data_sha256: str,
    device: torch.device,
    beside: Mapping[str, bytes] | None = None,
    targets: dict[str, dict[str, float]] | None = None,
    best_epoch: int | None = None,
    stopped_by: str | None = None,
) -> Manifest:
    """Write the model into `directory`, which must not exist, and return its manifest. `beside`
    maps the names of additional files to their contents.

    The write is atomic, and durable when this returns.

    Raises:
        OSError: the write failed; partial files are removed.
    """
    model = model.cpu().eval()
    weights = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    parameters = [Parameter(name=n, shape=list(p.shape)) for n, p in model.named_parameters()]
    manifest = Manifest(
        signature=signature,
        spec=spec.model_dump(mode="json"),
        structure=str(model),
        parameters=parameters,
        parameter_count=sum(p.numel() for p in model.parameters()),
        linear=linear_formula(model, signature),
        metrics=metrics,
        targets=targets,
        data_sha256=data_sha256,
        weights_sha256=sha256(weights).hexdigest(),
        best_epoch=best_epoch,
        stopped_by=stopped_by,
        torch_version=str(torch.__version__),
        epochd_version=__version__,
        device=str(device),
        threads=torch.get_num_threads(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
    )
    partial = directory.with_name(f".{directory.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        write(partial / WEIGHTS, weights)
        left_out = {"targets"} if targets is None else None
        document = manifest.model_dump_json(indent=2, exclude=left_out)
        write(partial / MANIFEST, document.encode())
        for name, data in (beside or {}).items():
            write(partial / name, data)
        seal(partial)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(directory)
    sync(directory.parent)
    return manifest


def load_manifest(directory: Path) -> Manifest:
    """Return the manifest of the model in `directory`.

    Raises:
        Damaged: it is missing, or is not as it was written.
    """
    manifest = read_document(directory, MANIFEST, Manifest)
    if manifest.format > 1 and not is_sealed(directory):
        raise Damaged(directory / CHECKSUMS, "is missing")
    return manifest


def load_model(directory: Path, manifest: Manifest) -> nn.Module:
    """Return the model in `directory`, on the CPU, in evaluation mode.

    Raises:
        Damaged: the weights are missing, are not as they were written, or do not match the
            structure in the manifest.
    """
    weights = checked(directory, WEIGHTS, manifest.weights_sha256, again=True)
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise Damaged(weights, f"cannot be read: {error}") from error
    model = nn.Sequential()
    try:
        model.add_module("preprocessing", preprocessing.blank(manifest.signature.inputs, state))
        network = stored_model(manifest.spec["model"]).build(manifest.signature)
        model.add_module("network", network)
        model.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise Damaged(directory / MANIFEST, f"does not describe the weights: {error}") from error
    return model.eval()


def linear_formula(
    model: nn.Module, signature: Signature
) -> LinearFormula | dict[str, LinearFormula] | None:
    """Return the formula of a linear regression in raw units, of several targets by their names;
    None for any other model."""
    output = signature.output
    if isinstance(output, Classes):
        return None
    affine = _affine(model.get_submodule("network"))
    if affine is None or not isinstance(inputs := signature.inputs, Features):
        return None
    layer = model.get_submodule("preprocessing")
    formulas = {
        target.name: _formula(weight, bias, layer, inputs, target)
        for weight, bias, target in zip(affine.weights.T, affine.bias, output.targets, strict=True)
    }
    return formulas if len(formulas) > 1 else formulas[output.targets[0].name]


def _formula(
    weight: Tensor, bias: Tensor, layer: nn.Module, inputs: Features, target: Value
) -> LinearFormula:
    """Return the formula of a target from `weight` `(width,)` and `bias` `()` for encoded rows."""
    names = inputs.names
    if isinstance(layer, Standardize):
        weight = weight * layer.factor().double()
        bias = bias - (weight * layer.offset().double()).sum()
    weights = dict(zip(names, weight.tolist(), strict=False))
    if isinstance(layer, Encode):
        weights, shift = layer.undo(inputs, weight)
        bias = bias + shift
    return LinearFormula(
        weights={name: target.scale * one for name, one in weights.items()},
        bias=target.offset + target.scale * bias.item(),
    )


def _affine(network: nn.Module) -> Affine | None:
    """Return a network as a linear model, float64; None if it is none."""
    if isinstance(network, FittedNetwork):
        return network.affine()
    if not isinstance(network, Linear):
        return None
    weight, bias = (parameter.detach().double() for parameter in network.parameters())
    return Affine(weight.t(), bias)
