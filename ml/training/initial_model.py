"""The model of a run before its first step."""

import copy

import torch
from torch import nn

from ml.datasets import Dataset, Rows
from ml.errors import Invalid
from ml.evaluation.metrics import batchwise
from ml.losses import class_weights
from ml.models import MLP, EncodedRows, FittedNetwork, Linear, most_rows
from ml.preprocessing import Encode, Standardize
from ml.signature import Signature
from ml.specs import TrainingSpec


def build(spec: TrainingSpec, data: Dataset) -> nn.Module:
    """Return the initial model: fitted preprocessing, then a network whose weights are determined
    by the seed. Seeds all torch random generators of this process.

    Raises:
        Invalid: no feature has a value in the training rows.
    """
    if data.signature.inputs.width == 0:
        raise Invalid(
            "no feature has a value in any training row: there is nothing to learn from",
            ("dataset",),
        )
    torch.manual_seed(spec.seed)
    model = nn.Sequential()
    model.add_module("preprocessing", copy.deepcopy(data.preprocessing))
    network = spec.model.build(data.signature)
    model.add_module("network", network)
    _clear_masked_weights(model, data.signature)
    if isinstance(network, FittedNetwork):
        train, validation = (
            encoded(rows, data.preprocessing, data.signature.inputs.width, torch.device("cpu"))
            for rows in (data.train, data.validation)
        )
        assert train is not None
        weights = class_weights(spec.loss, data.train.targets, data.signature.output)
        network.fit_to(train, validation, weights)
    return model


@torch.no_grad()
def encoded(
    rows: Rows | None, preprocessing: nn.Module, width: int, device: torch.device
) -> EncodedRows | None:
    """Return evenly spaced rows on `device` as a network sees them: `width` numbers each, and as
    many rows as one is fitted to; None if there are none."""
    if rows is None:
        return None
    chosen = rows.spaced(min(len(rows), most_rows(width)))
    batches = batchwise(lambda raw: preprocessing(raw.to(device)).flatten(1), chosen.inputs)
    inputs, targets = torch.cat(batches), chosen.targets.to(device)
    # Rows that are not for training may be infinitely far from those that are.
    usable = inputs.isfinite().all(1) & targets.view(len(targets), -1).isfinite().all(1)
    return EncodedRows(inputs[usable], targets[usable]) if usable.any() else None


def _clear_masked_weights(model: nn.Module, signature: Signature) -> None:
    """Set the weights of masked inputs to 0, where they stay, since their gradient is 0."""
    preprocessing, network = (model.get_submodule(name) for name in ("preprocessing", "network"))
    if not isinstance(preprocessing, Standardize | Encode):
        return
    if not (isinstance(network, Linear | MLP) and isinstance(network[0], nn.Flatten)):
        return
    masked = preprocessing.masked()
    if isinstance(preprocessing, Standardize):
        masked = masked.expand(signature.inputs.shape).flatten()
    if masked.any():
        with torch.no_grad():
            network.get_parameter("1.weight")[:, masked] = 0
