"""Networks and the specs that build them.

To add a model, write a `Strict` spec with a `build` method and add it to `ModelSpec`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

import torch
from torch import nn

from ml.models.auto import AutoSpec
from ml.models.built_in import CNNSpec, LinearSpec, MLPSpec, TorchvisionSpec
from ml.models.fitted import EncodedRows, FittedNetwork, most_rows
from ml.models.networks import CNN, MLP, Activation, Embed, Linear
from ml.models.sequential import SequentialSpec
from ml.models.tabm import TabM, TabMSpec
from ml.signature import Signature
from ml.strict import ByKind
from ml.suggestions import kinds_of

__all__ = [
    "CNN",
    "MLP",
    "Activation",
    "AutoSpec",
    "CNNSpec",
    "Embed",
    "EncodedRows",
    "FittedNetwork",
    "Linear",
    "LinearSpec",
    "MLPSpec",
    "ModelSpec",
    "SequentialSpec",
    "TabM",
    "TabMSpec",
    "TorchvisionSpec",
    "blueprint",
    "count_parameters",
    "most_rows",
    "stored_model",
]

AnyModel = LinearSpec | MLPSpec | CNNSpec | TorchvisionSpec | SequentialSpec | TabMSpec | AutoSpec
ModelSpec = Annotated[AnyModel, ByKind()]
KINDS: dict[str, type[AnyModel]] = {
    kind: spec for spec in get_args(AnyModel) for kind in kinds_of(spec)
}


def stored_model(document: Mapping[str, Any]) -> ModelSpec:
    """Return the spec in a trained model's manifest without validating it again: later rules may be
    stricter than those at training."""
    spec = KINDS[document["kind"]]
    if issubclass(spec, SequentialSpec | AutoSpec):
        return spec.stored(document)
    return spec.model_construct(**document)


def blueprint(spec: ModelSpec, signature: Signature) -> nn.Module:
    """Return the network without memory for its parameters.

    Raises:
        Invalid: the model does not fit the signature; `loc` is within the spec.
    """
    try:
        with torch.device("meta"):
            return spec.build(signature)
    except NotImplementedError:
        # Some networks compute their widths with tensors; none of these is large.
        return spec.build(signature).to("meta")


def count_parameters(spec: ModelSpec, signature: Signature) -> int:
    """Return the number of parameters of the network, without allocating them.

    Raises:
        Invalid: the model does not fit the signature; `loc` is within the spec.
    """
    return sum(parameter.numel() for parameter in blueprint(spec, signature).parameters())
