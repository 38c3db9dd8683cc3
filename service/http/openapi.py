"""The OpenAPI description in a form that generators of clients accept."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's function in camelCase: `submitJob` for `submit_job`."""
    first, *others = route.name.split("_")
    return first + "".join(map(str.capitalize, others))


def for_generators(document: Schema) -> Schema:
    """Name every body of an OpenAPI description, and leave out what generators of clients cannot
    read; return the description.

    A body whose schema has a title becomes a component of that name. Every component has its name
    as its title, since generators name classes by titles. A default that is an object or a list is
    told in words, unless it is empty.
    """
    components: dict[str, Schema] = document["components"]["schemas"]
    for content in _contents(document["paths"]):
        for media in content.values():
            if "properties" in media.get("schema", {}):
                media["schema"] = _moved(media["schema"], components)
    names = {key: _name(key, schema) for key, schema in sorted(components.items())}
    renamed = {COMPONENTS + key: COMPONENTS + name for key, name in names.items()}
    for node in _objects(document):
        # References, and those of a discriminator.
        node |= {k: renamed[v] for k, v in node.items() if isinstance(v, str) and v in renamed}
    for schema in components.values():
        _tell_defaults(schema)
    document["components"]["schemas"] = {
        name: components[key] | {"title": name} for key, name in names.items()
    }
    return document


def _name(key: str, schema: Schema) -> str:
    """Return the name of a component: `JobPage` for `Page_Job_`, and `SpecInput` for `Spec-Input`,
    by which FastAPI tells the form of requests from that of responses."""
    title: str = schema.get("title", key)
    return title if key.endswith("_") else key.replace("-", "")


def _contents(paths: Schema) -> Iterator[Schema]:
    """Yield the content of every request and response, by media type."""
    for operations in paths.values():
        for operation in operations.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                yield body.get("content", {})


def _moved(schema: Schema, components: dict[str, Schema]) -> Schema:
    """Move a schema with its definitions to the components; return a reference to it."""
    for name, definition in schema.pop("$defs", {}).items():
        components.setdefault(name, definition)
    components.setdefault(schema["title"], schema)
    return {"$ref": COMPONENTS + schema["title"]}


def _objects(node: Any) -> Iterator[Schema]:
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _objects(child)


def _tell_defaults(schema: Schema) -> None:
    for field in schema.get("properties", {}).values():
        default = field.get("default")
        if not isinstance(default, dict | list):
            continue
        del field["default"]
        if default:
            words = f"Default: `{json.dumps(default, ensure_ascii=False)}`."
            field["description"] = f"{field.get('description', '')} {words}".strip()
