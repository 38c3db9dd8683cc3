"""The least memory that a training run needs, known before its data is loaded.

Each figure is a lower bound for every engine: a run that needs more than its device has cannot
succeed, and one that needs less may still fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ml.datasets.division import training_sizes
from ml.errors import located_at
from ml.models import CNNSpec, MLPSpec, ModelSpec, SequentialSpec, TorchvisionSpec, blueprint
from ml.models.description import trace
from ml.models.number_embeddings import PiecewiseLinear
from ml.models.tabm import OwnLinear, SharedLinear
from ml.signature import Signature
from ml.specs import TrainingSpec

FLOAT_BYTES = 4
HALF_BYTES = 2
SAVED_PER_PIXEL: Mapping[str, int] = {
    "resnet18": 36,
    "resnet34": 61,
    "resnet50": 180,
    "resnext50_32x4d": 245,
    "wide_resnet50_2": 245,
    "densenet121": 250,
    "efficientnet_b0": 130,
    "mobilenet_v2": 130,
    "mobilenet_v3_small": 30,
    "mobilenet_v3_large": 85,
    "shufflenet_v2_x1_0": 36,
    "regnet_y_400mf": 74,
    "convnext_tiny": 225,
}
"""Layer inputs of each network of torchvision, in numbers per pixel of an image."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a run needs at once."""

    parameters: int
    """Number of parameters, not bytes."""
    weights: int
    """Weights, gradients, the optimizer's state, the averages and the best weights."""
    activations: int
    """Layer inputs of one batch, which the backward pass needs."""

    @property
    def total(self) -> int:
        """Return the bytes of all parts."""
        return self.weights + self.activations


def footprint(spec: TrainingSpec) -> Footprint:
    """Return the least memory that a run needs on its device, without allocating it.

    Raises:
        Invalid: the model does not fit the data set; `loc` is within the spec.
    """
    signature = spec.dataset.signature()
    with located_at("model"):
        network = blueprint(spec.model, signature)
    numbers = _saved_numbers(spec.model, network, signature)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    copies = 2 + spec.optimizer.state_per_weight + spec.keep_best + (spec.average is not None)
    itemsize = HALF_BYTES if spec.precision == "bfloat16" else FLOAT_BYTES
    # The sizes of groups are not known.
    most = max(training_sizes(spec.dataset.row_counts(), spec.split), default=1)
    rows = min(spec.batch_size, most)
    return Footprint(parameters, copies * FLOAT_BYTES * parameters, rows * numbers * itemsize)


def culprit(spec: TrainingSpec, need: Footprint) -> tuple[str, ...]:
    """Return the path of the field to which the larger part of `need` is due."""
    if need.activations > need.weights:
        return ("batch_size",)
    if isinstance(spec.model, SequentialSpec):
        return ("model", "layers")
    return ("model", "hidden") if isinstance(spec.model, MLPSpec | CNNSpec) else ("model",)


def _saved_numbers(spec: ModelSpec, network: nn.Module, signature: Signature) -> int:
    """Return how many numbers a forward pass of one row saves: the inputs of all affine and
    convolutional layers and embeddings, or the outputs of one of them if these are more. Others may
    be recomputed."""
    if isinstance(spec, TorchvisionSpec):
        height, width = signature.inputs.shape[-2:]
        return SAVED_PER_PIXEL[spec.name] * height * width
    layers = [
        layer
        for layer in trace(network, signature)
        if isinstance(layer.module, nn.Linear | nn.Conv2d | SharedLinear | OwnLinear)
    ]
    # Layers that share their inputs share what is saved.
    saved = {id(layer.inputs): layer.inputs.numel() for layer in layers}
    # Of a number, what is saved is its share of every bin.
    bins = sum(
        module.pieces.shape[:2].numel()
        for module in network.modules()
        if isinstance(module, PiecewiseLinear)
    )
    return max([bins + sum(saved.values()), *(layer.outputs.numel() for layer in layers)])
