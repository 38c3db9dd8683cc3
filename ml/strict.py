"""Base classes of documents: written by users, or by epochd only."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ml.errors import Invalid

Document = TypeVar("Document", bound=BaseModel)


class Strict(BaseModel):
    """A pydantic model that rejects unknown fields, strings for numbers, NaN and infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, frozen=True, protected_namespaces=()
    )


class Frozen(BaseModel):
    """An immutable document that only epochd writes and reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def parse(kind: type[Document], document: object) -> Document:
    """Return `document` validated as `kind`.

    Raises:
        Invalid: the first error in it; `loc` is its path.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    raise Invalid(sentence(first), first["loc"])


def sentence(error: Mapping[str, Any]) -> str:
    """Return the message of a pydantic error, to follow the path of the field."""
    if error["type"] == "union_tag_invalid":
        return "unknown {discriminator} '{tag}'; known: {expected_tags}".format(**error["ctx"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
