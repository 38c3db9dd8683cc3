"""The base of every answer, and what several rooms share."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


class Schema(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, protected_namespaces=(), populate_by_name=True
    )


class Page(Schema, Generic[Item]):
    """One page of a list."""

    data: list[Item]
    next: str | None = None


class ModelRef(Schema):
    """A version of a model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class DataWarning(Schema):
    """A guess about the data, or something its owner may not expect of it."""

    column: str | None
    kind: str
    message: str
