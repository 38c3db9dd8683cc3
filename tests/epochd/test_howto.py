"""The how-to guide of the client names what there is. Its commands run in `tests/system`."""

import ast
from collections.abc import Iterator

import epochd
from tests.docs.pages import DOCS, FENCE, names, section

PAGE = DOCS / "howto" / "client.md"
OBJECTS = {"client": epochd.Client, "job": epochd.Job, "model": epochd.Model}


def used() -> Iterator[tuple[type, str]]:
    """Yield the attributes of clients, jobs and models in the page's examples."""
    for language, text in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Attribute(value=ast.Name(id=name)) if name in OBJECTS:
                    yield OBJECTS[name], node.attr


def test_examples_use_methods_that_exist() -> None:
    found = set(used()) - {(epochd.Job, "info")}  # of an instance only
    missing = {name for kind, name in found if not hasattr(kind, name)}
    assert missing == set()


def test_every_exception_is_in_the_table() -> None:
    listed = names(section(PAGE, "Errors and repetitions"))
    kinds = {
        name
        for name in epochd.__all__
        if isinstance(kind := getattr(epochd, name), type) and issubclass(kind, Exception)
    }
    assert listed == kinds - {"ApiError", "EpochdError"}
