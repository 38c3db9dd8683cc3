"""Base classes and types shared by request and response bodies."""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, definitions_schema

Item = TypeVar("Item")


class Body(BaseModel):
    """The base of every response."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Page(Body, Generic[Item]):
    """One page of a list."""

    data: list[Item]
    next: str | None = Field(
        description="Value of `after` for the next page; null on the last page."
    )


class ModelRef(Body):
    """A version of a model."""

    name: str
    version: int


@dataclass(frozen=True)
class StoredAs:
    """Marks a field that returns a stored document unchanged, even if today's rules reject it.
    OpenAPI describes it with the schema of `kind`."""

    kind: type[BaseModel]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe `kind` by reference, since OpenAPI names nested schemas."""
        return handler(definitions_schema(self.kind.__pydantic_core_schema__, []))


def self_contained(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a non-recursive model with all references inlined, for bodies that
    are added to OpenAPI by hand."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(definitions[node["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in node.items()}

    return {key: resolved(value) for key, value in schema.items()}


class Health(Body):
    """Response of the liveness probe."""

    status: Literal["ok"]


class Readiness(Body):
    """Response of the readiness probe."""

    status: Literal["ok", "degraded"] = Field(description="`degraded` if there are warnings.")
    warnings: list[str] = Field(
        description="Problems that need the operator's attention while the service still works, "
        "for example an unusable GPU."
    )
