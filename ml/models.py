"""Networks, each built from the spec that names it.

A new model is a `Strict` spec with a `build` method, and its name in `ModelSpec`.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Discriminator, Field, Tag, model_validator
from torch import nn

from ml.signature import Signature
from ml.strict import Strict

MAX_WIDTH = 1_000_000
MAX_LAYERS = 64

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu", "tanh", "sigmoid"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Probability = Annotated[float, Field(ge=0, lt=1)]
# Told apart before they are checked, or every mistake would be reported once for each.
OneOrEach = Annotated[
    Annotated[Probability, Tag("one")] | Annotated[list[Probability], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, list) else "one"),
]


class Linear(nn.Sequential):
    """One affine map: linear regression for a value, softmax regression for classes."""


class MLP(nn.Sequential):
    """Affine maps with an activation, and where asked dropout, between them."""


class LinearSpec(Strict):
    """`y = W x + b`."""

    kind: Literal["linear"] = "linear"

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from `(batch, *signature.inputs.shape)` to `(batch, size)`."""
        return Linear(nn.Flatten(), nn.Linear(signature.input_size, signature.output.size))


class MLPSpec(Strict):
    """A multilayer perceptron."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field(
        default=[512, 256], min_length=1, max_length=MAX_LAYERS, description="Hidden layer sizes."
    )
    activation: Activation = "relu"
    dropout: OneOrEach = Field(
        default=0.0,
        description="Probability of dropping a unit after an activation: one number for every "
        "hidden layer, or a list with one number per hidden layer.",
    )

    @model_validator(mode="after")
    def _one_dropout_per_layer(self) -> "MLPSpec":
        if isinstance(self.dropout, list) and len(self.dropout) != len(self.hidden):
            raise ValueError(
                f"dropout lists {len(self.dropout)} probabilities for {len(self.hidden)} hidden "
                "layers; give one number for all of them, or one per layer"
            )
        return self

    @property
    def dropouts(self) -> list[float]:
        """The dropout probability of each hidden layer."""
        return self.dropout if isinstance(self.dropout, list) else [self.dropout] * len(self.hidden)

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from `(batch, *signature.inputs.shape)` to `(batch, size)`."""
        layers: list[nn.Module] = [nn.Flatten()]
        width = signature.input_size
        for hidden, dropout in zip(self.hidden, self.dropouts, strict=True):
            layers += [nn.Linear(width, hidden), ACTIVATIONS[self.activation]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = hidden
        return MLP(*layers, nn.Linear(width, signature.output.size))


ModelSpec = Annotated[LinearSpec | MLPSpec, Field(discriminator="kind")]


def count_parameters(spec: ModelSpec, signature: Signature) -> int:
    """Return how many numbers the network would learn, without allocating any of them."""
    with torch.device("meta"):
        network = spec.build(signature)
    return sum(parameter.numel() for parameter in network.parameters())
