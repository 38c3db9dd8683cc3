"""Suggestions for names that do not exist: what was meant, and for a field of a document, read off
the specs themselves, where it belongs."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

MAX_NAME = 64
"""Maximum number of characters of a name that others are compared with."""
CUTOFF = 0.65
"""Least similarity of a suggestion: a star is not a square."""

Spec = type[BaseModel]


def advice(name: str, spec: Spec, base: Spec) -> str:
    """Return what to say about the field `name` of a document of `spec`, which has no such field.
    `base` is the class that all specs are derived from."""
    if len(name) <= MAX_NAME and (place := _place(name, spec, base)):
        return place
    fields = spec.model_fields.keys()
    if meant := close_match(name, fields) or _described(name, spec):
        return f"unknown field; did you mean {meant}?"
    return f"unknown field; known: {', '.join(sorted(fields))}"


def close_match(name: str, known: Collection[str]) -> str | None:
    """Return the one of the `known` names that `name` is most similar to, if any."""
    if len(name) > MAX_NAME:
        return None
    if found := get_close_matches(name.lower(), known, n=1, cutoff=CUTOFF):
        return found[0]
    longer = (one for one in known if len(name) > 1 and one.startswith(name.lower()))
    return next(longer, None)


def _place(name: str, spec: Spec, base: Spec) -> str | None:
    """Return where a field belongs: in a part of the document, in another kind of the same part, or
    in the whole that the document is a part of."""
    if inside := _parts_with(name, spec):
        return f"{name} belongs in {_either(inside)}"
    for whole, part in _wholes(spec, base):
        others = [kind for kind in _parts(whole)[part] if name in kind.model_fields]
        if others:
            kinds = " and ".join(kind for other in others for kind in kinds_of(other))
            return f"{name} is a field of {kinds}, not of {' and '.join(kinds_of(spec))}"
        if name in whole.model_fields:
            return f"{name} belongs beside {part}, not in it"
        if beside := _parts_with(name, whole):
            return f"{name} belongs in {_either(beside)}, not in {part}"
    return None


def _described(name: str, spec: Spec) -> str | None:
    """Return the field whose description begins with the words of a name: `lr in optimizer`, the
    "Learning rate", for `learning_rate`."""
    words = name.lower().replace("_", " ").split()
    if len(words) < 2:
        return None  # a single word begins too many descriptions
    places = [(spec, "")]
    places += [(one, f" in {part}") for part, specs in _parts(spec).items() for one in specs]
    for place, where in places:
        for field, details in place.model_fields.items():
            described = (details.description or "").lower().strip(".").split()
            if described[: len(words)] == words:
                return f"{field}{where}"
    return None


def kinds_of(spec: Spec) -> list[str]:
    """Return the kinds that a spec has in a union of specs."""
    kind = spec.model_fields.get("kind")
    return list(get_args(kind.annotation)) if kind else []


def specs_in(annotation: Any) -> list[Spec]:
    """Return the specs of a union; other types have none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) not in (Annotated, Union, UnionType):
        return []
    return [spec for member in get_args(annotation) for spec in specs_in(member)]


@cache
def _parts(spec: Spec) -> dict[str, list[Spec]]:
    """Return the specs that each field of a document may hold."""
    parts = {name: specs_in(field.annotation) for name, field in spec.model_fields.items()}
    return {name: specs for name, specs in parts.items() if specs}


def _parts_with(name: str, spec: Spec) -> list[str]:
    return [
        part
        for part, kinds in _parts(spec).items()
        if any(name in kind.model_fields for kind in kinds)
    ]


def _wholes(spec: Spec, base: Spec) -> Iterator[tuple[Spec, str]]:
    """Yield the specs that have `spec` as a part, and the field that holds it."""
    for whole in _all(base):
        for part, kinds in _parts(whole).items():
            if spec in kinds:
                yield whole, part


def _all(base: Spec) -> Iterator[Spec]:
    for spec in base.__subclasses__():
        yield spec
        yield from _all(spec)


def _either(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
