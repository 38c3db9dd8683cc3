"""Base classes of documents: written by users, or by epochd only."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    ValidationError,
    model_validator,
)

from ml.errors import Invalid

Document = TypeVar("Document", bound=BaseModel)


class _FailFast(FailFast):
    """A `FailFast` that may stand in a union."""

    __hash__ = object.__hash__


FIRST_ERROR = _FailFast()
"""Marks a list whose validation ends with the first invalid item: there may be a million."""


def at_most(count: int, noun: str) -> BeforeValidator:
    """Return a validator that counts the entries of an object before each is validated: each wrong
    one makes an error."""

    def counted(entries: object) -> object:
        if isinstance(entries, dict) and len(entries) > count:
            raise ValueError(f"at most {count:,} {noun} are allowed, not {len(entries):,}")
        return entries

    return BeforeValidator(counted)


class Strict(BaseModel):
    """A pydantic model that rejects unknown fields, strings for numbers, NaN and infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, frozen=True, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _stop_at_the_first_unknown_field(cls, document: object) -> object:
        # A document may have a million, and each is an error with its place and its message.
        if not isinstance(document, dict):
            return document
        known = cls.model_fields
        unknown = [name for name in document if name not in known]
        if len(unknown) < 2:
            return document
        return {n: value for n, value in document.items() if n in known or n == unknown[0]}


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
