"""Names of query parameters: unknown ones, and repeated ones that are no lists, are refused."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams

from ml.errors import Invalid
from ml.suggestions import close_match
from service.errors import Unprocessable

Known = Mapping[str, bool]
"""Whether a parameter is a list, which a query may repeat, by name."""


async def check_query(request: Request) -> None:
    """Check the query of a request against the parameters of its route.

    Raises:
        Unprocessable: a name is unknown, or repeated and no list.
    """
    route = request.scope.get("route")
    if request.scope["query_string"] and isinstance(route, APIRoute):
        check_names(request.query_params, _parameters(route))


def check_names(query: QueryParams, known: Known) -> None:
    """Check the names of a query.

    Raises:
        Unprocessable: a name is unknown, or repeated and no list.
    """
    names = [name for name, _ in query.multi_items()]
    for name in dict.fromkeys(names):
        if name not in known:
            raise Unprocessable.at(Invalid(_advice(name, known)), "query", name)
        if not known[name] and (times := names.count(name)) > 1:
            message = f"is given {times:,} times; give it once"
            raise Unprocessable.at(Invalid(message), "query", name)


def _advice(name: str, known: Known) -> str:
    if meant := close_match(name, known.keys()):
        return f"unknown parameter; did you mean {meant}?"
    if not known:
        return "unknown parameter; this route has none"
    return f"unknown parameter; known: {', '.join(sorted(known))}"


def _parameters(route: APIRoute) -> Known:
    return {name: _is_list(annotation) for name, annotation in _annotations(route.dependant)}


def _annotations(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    for part in dependant.dependencies:
        yield from _annotations(part)
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields.items()
            yield from ((info.alias or name, info.annotation) for name, info in fields)
        else:
            yield field.alias, annotation


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))
