"""Base classes of documents: written by users, or by epochd only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from ml.errors import Invalid
from ml.suggestions import advice, close_match, kinds_of, specs_in

MAX_SHOWN = 60
"""Maximum number of characters of a user's word in a message."""

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
        unknown = next((name for name in document if name not in known), None)
        if not isinstance(unknown, str):
            return document
        # The value of an unknown field is of no use, and an error keeps it.
        says = _Unknown(advice(unknown, cls, Strict))
        return {n: value for n, value in document.items() if n in known} | {unknown: says}


@dataclass(frozen=True)
class _Unknown:
    """Stands for the value of an unknown field, with the message about it."""

    message: str


class Frozen(BaseModel):
    """An immutable document that only epochd writes and reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


@dataclass(frozen=True)
class ByKind:
    """Marks a union of specs that differ by `kind`. The bare name of a kind stands for its spec
    with all defaults: `"adam"` for `{"kind": "adam"}`."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return the schema of the union, in front of which names are read."""
        union = handler(Annotated[source, Field(discriminator="kind")])
        needs = {
            kind: [
                n for n, field in spec.model_fields.items() if field.is_required() and n != "kind"
            ]
            for spec in specs_in(source)
            for kind in kinds_of(spec)
        }

        def document(value: object) -> object:
            if isinstance(value, dict) and "kind" not in value:
                raise ValueError(f"needs a kind, one of {', '.join(needs)}")
            if not isinstance(value, str):
                return value
            if missing := needs.get(value):
                fields = "".join(f', "{name}": …' for name in missing)
                raise ValueError(
                    f'{value} needs {" and ".join(missing)}; write {{"kind": "{value}"{fields}}}'
                )
            return {"kind": value}

        complete = [kind for kind, missing in needs.items() if not missing]
        names = core_schema.literal_schema(complete)
        return core_schema.no_info_before_validator_function(
            document,
            union,
            json_schema_input_schema=core_schema.union_schema([names, union])
            if complete
            else union,
        )


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
    if error["type"] == "extra_forbidden" and isinstance(error["input"], _Unknown):
        return error["input"].message
    if error["type"] == "union_tag_invalid":
        return _unknown_kind(**error["ctx"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def as_validation_error(error: Invalid) -> ValidationError:
    """Return an error of one of our own validators so that pydantic keeps its path: it prepends
    where the validator stands."""
    message = PydanticCustomError("invalid", "{message}", {"message": error.msg})
    details = InitErrorDetails(type=message, loc=error.loc, input=None)
    return ValidationError.from_exception_data("document", [details])


def _unknown_kind(discriminator: str, tag: str, expected_tags: str) -> str:
    name = discriminator.strip("'")
    meant = close_match(tag, [known.strip("'") for known in expected_tags.split(", ")])
    advice = f"did you mean '{meant}'? " if meant else ""
    return f"unknown '{name}' '{tag[:MAX_SHOWN]}'; {advice}known: {expected_tags}"
