"""What bodies of several rooms share."""

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
    next: str | None = Field(description="Pass it as `after` for the next page; null at the end.")


class ModelRef(Body):
    """A version of a model."""

    name: str
    version: int


@dataclass(frozen=True)
class StoredAs:
    """Marks a document that is answered as it was stored, whatever the rules are by now; OpenAPI
    describes it as `kind`, which it was when it was stored."""

    kind: type[BaseModel]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Take it as the annotated type says."""
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it as `kind`, by reference: a schema within another is given a name."""
        return handler(definitions_schema(self.kind.__pydantic_core_schema__, []))


def self_contained(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model that is not recursive, with nothing in it by reference: for
    a body that OpenAPI is told of by hand."""
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
    """A probe's answer."""

    status: Literal["ok"]


class Readiness(Health):
    """The readiness probe's answer."""

    warnings: list[str] = Field(
        description="What the operator should look at, though the service works: a GPU that "
        "cannot be used."
    )
