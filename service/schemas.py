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

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return the name of a page of items: `JobPage`."""
        return f"{params[0].__name__}Page"

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


def named(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a body that is added to OpenAPI by hand. `http.openapi` makes it,
    and the schemas it refers to, components of their names."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


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
