"""The bases of documents: those a user writes, and those that only we do."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ml.errors import Invalid

Document = TypeVar("Document", bound=BaseModel)


class Strict(BaseModel):
    """A pydantic model that refuses unknown fields, text for numbers, NaN and infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, frozen=True, protected_namespaces=()
    )


class Frozen(BaseModel):
    """A value that is written and read by us alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def parse(kind: type[Document], document: object) -> Document:
    """Return `document` as `kind`.

    Raises:
        Invalid: the first mistake in it, at its place.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    raise Invalid(message[:1].lower() + message[1:], first["loc"])
