"""Generate the tables of docs/reference that are derived from the code: `make docs`.

A table is enclosed by `<!-- NAME: made by make docs -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from ml.ingest.warning import MEANINGS
from service.errors import Problem
from service.settings import Settings

REFERENCE = Path(__file__).parent / "reference"
TABLE = re.compile(r"(<!-- (\w+): made by make docs -->\n).*?(<!-- end -->)", re.DOTALL)
BOUNDS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))
MIB = 1024 * 1024


def settings() -> str:
    """Return the table of settings."""
    fields = Settings.model_fields.items()
    rows = [
        (f"`EPOCHD_{name.upper()}`", field.description or "", _default(name, field), _range(field))
        for name, field in fields
    ]
    return _table(("variable", "meaning", "default", "range"), rows)


def problems() -> str:
    """Return the table of API errors, by status."""
    kinds = sorted(_descendants(Problem), key=lambda kind: (kind.status, kind.__name__))
    rows = [(f"`{kind.status.value}`", _sentence(kind), _retry(kind)) for kind in kinds]
    return _table(("status", "meaning", "headers"), rows)


def warnings() -> str:
    """Return the table of kinds of warnings."""
    return _table(("kind", "meaning"), ((f"`{k}`", meaning) for k, meaning in MEANINGS.items()))


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "problems": problems,
    "warnings": warnings,
}


def filled(page: str) -> str:
    """Return a page's text with its tables regenerated."""
    return TABLE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", page)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _default(name: str, field: FieldInfo) -> str:
    value = field.default
    if value in (None, ()):
        return ""
    if isinstance(value, bool):
        return f"`{'on' if value else 'off'}`"
    if name.endswith("_bytes"):
        return f"`{value}` ({value // MIB:,} MiB)"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _range(field: FieldInfo) -> str:
    literals: Sequence[Any] = getattr(field.annotation, "__args__", ())
    if literals and all(isinstance(value, str) for value in literals):
        return " or ".join(f"`{value}`" for value in literals)
    bounds = {type(bound): bound for bound in field.metadata}
    if bounds.keys() >= {Ge, Le}:
        return f"{bounds[Ge].ge} to {bounds[Le].le}"
    return ", ".join(
        f"{words} {getattr(bounds[kind], name)}" for kind, name, words in BOUNDS if kind in bounds
    )


def _descendants(kind: type[Problem]) -> Iterator[type[Problem]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def _sentence(kind: type[Problem]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _retry(kind: type[Problem]) -> str:
    return ", ".join(f"`{name}: {value}`" for name, value in kind.headers.items())


def main() -> None:
    """Regenerate every table."""
    for path in REFERENCE.glob("*.md"):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
