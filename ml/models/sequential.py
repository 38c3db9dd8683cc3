"""The spec of a network of the user's own layers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator
from torch import nn

from ml.errors import Invalid, located_at
from ml.models.layer_documents import MAX_LAYERS, read_layers, stored_layers
from ml.models.layers import FlattenLayer, Layer, Shape, in_words
from ml.models.networks import ToChannels, image_shape
from ml.models.sequence import LAYERS, shapes, with_layers
from ml.signature import Classes, Signature
from ml.strict import Strict, as_validation_error

CHANNELS, HEAD = "channels", "head"
"""Names of the parts that are added to a user's layers."""
LAYERS_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_LAYERS,
    "items": {"anyOf": [{"type": "string", "enum": [*LAYERS]}, {"type": "object"}]},
}
"""JSON schema of layers as users write them."""


class SequentialSpec(Strict):
    """A network of the user's own layers, one after the other."""

    kind: Literal["sequential"] = "sequential"
    layers: Annotated[list[Layer], WithJsonSchema(LAYERS_SCHEMA)] = Field(
        description="Layers, each a name such as `relu`, or a mapping such as "
        '`{"linear": 64, "name": "fc1"}`; the sizes of their inputs follow from the data.',
        examples=[[{"linear": 64, "name": "fc1"}, "relu", {"dropout": 0.2}]],
    )
    head: bool = Field(
        default=True,
        description="Add an affine layer at the end, with one output per target or class.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _read(cls, document: object) -> list[Layer]:
        try:
            return read_layers(document)
        except Invalid as error:
            raise as_validation_error(error) from None

    @classmethod
    def stored(cls, document: Mapping[str, Any]) -> "SequentialSpec":
        """Return a spec that was stored, without validating it again."""
        return cls.model_construct(**{**document, "layers": stored_layers(document["layers"])})

    def build(self, signature: Signature) -> nn.Module:
        """Return the network, from encoded inputs `(batch, ...)` to `(batch, size)`.

        Raises:
            Invalid: a layer does not suit the shape it gets, the last does not suit the output, or
                a name is taken; `loc` is within this spec.
        """
        shape = self._input(signature)
        *_, last = self._shapes(signature, shape)
        network = nn.Sequential()
        if len(shape) > 1 and not isinstance(self.layers[0], FlattenLayer):
            self._check_name(CHANNELS, "the part that gives images their channels")
            network.add_module(CHANNELS, ToChannels(shape[0]))
        with_layers(network, self.layers, shape)
        if self.head:
            self._check_name(HEAD, "the output layer")
            network.add_module(HEAD, nn.Linear(last[0], signature.output.size))
        return network

    def _input(self, signature: Signature) -> Shape:
        if signature.inputs.kind == "images":
            return image_shape(signature)
        return (signature.inputs.width,)

    def _shapes(self, signature: Signature, shape: Shape) -> list[Shape]:
        """Return the shapes before the first layer and after each, checked."""
        with located_at("layers"):
            found = shapes(self.layers, shape)
            self._check_output(signature, found[-1])
            if signature.inputs.kind == "features" and not signature.inputs.is_exact:
                self._check_any_width(signature, shape)
        return found

    def _check_output(self, signature: Signature, last: Shape) -> None:
        output = signature.output
        if self.head and len(last) > 1:
            raise Invalid(
                f"the output layer takes a row of numbers, and the last layer gives "
                f"{in_words(last)}; end with flatten"
            )
        if not self.head and last != (output.size,):
            counted = "class" if isinstance(output, Classes) else "target"
            wanted = "the value" if output.kind == "value" else f"one for each {counted}"
            raise Invalid(
                f"the last layer gives {in_words(last)}, and this data set needs "
                f'{in_words((output.size,))}, {wanted}; end with {{"linear": {output.size}}}, or '
                "leave head out"
            )

    def _check_any_width(self, signature: Signature, shape: Shape) -> None:
        """Check that the layers suit the rows of a table however many numbers they are encoded as,
        which is known only when the rows are loaded."""
        try:
            self._check_output(signature, shapes(self.layers, (shape[0] + 1,))[-1])
        except Invalid as error:
            raise Invalid(
                "the first layers depend on how many numbers a row of this table is encoded as, "
                "which is known only when its rows are loaded; put a linear layer first",
                error.loc[:1],
            ) from None

    def _check_name(self, name: str, whose: str) -> None:
        for index, layer in enumerate(self.layers):
            if layer.name == name:
                raise Invalid(
                    f"layer {index + 1} ({layer.label}): the name is that of {whose}; choose "
                    "another",
                    ("layers", index, "name"),
                )
