"""Response bodies of the Open Inference Protocol."""

from typing import Any

from pydantic import Field

from service.schemas import Body


class ProtocolError(Body):
    """An error in the form of the protocol."""

    error: str


class ServerMetadata(Body):
    """The server and the extensions of the protocol that it offers."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Body):
    """Response of the liveness probe."""

    live: bool


class ServerReady(Body):
    """Response of the readiness probe."""

    ready: bool


class TensorMetadata(Body):
    """An input or output of a model."""

    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(description="Sizes; -1 is the number of rows.")


class ModelMetadata(Body):
    """A model with its inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(Body):
    """A model that accepts requests."""

    name: str
    ready: bool


class TensorConfig(Body):
    """An input or output in Triton's configuration of a model."""

    name: str
    data_type: str = Field(examples=["TYPE_FP32"])
    dims: list[int] = Field(description="Sizes without the number of rows.")


class ModelConfig(Body):
    """Triton's configuration of a model."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class IndexEntry(Body):
    """A version of a model in the index of the repository."""

    name: str
    version: str
    state: str = Field(description="`READY` or `UNAVAILABLE`.")
    reason: str = Field(description="Why it is unavailable, else empty.")


class OutputTensor(Body):
    """An output of a model, for all rows."""

    name: str
    datatype: str = Field(examples=["FP32"])
    shape: list[int]
    data: list[Any] | None = Field(
        default=None, description="Values, row by row; binary ones follow the JSON instead."
    )
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferResponse(Body):
    """The outputs of a model."""

    model_name: str
    model_version: str
    id: str | None = Field(default=None, description="The `id` of the request, if it has one.")
    outputs: list[OutputTensor]
