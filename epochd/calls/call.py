"""A call as a value, and steps of several calls."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from epochd.documents import encode
from epochd.schemas import Page

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ANSWER_SECONDS = 60.0
"""Time for the first bytes of an answer, more than the service takes for a prediction."""
LONG_SECONDS = 900.0
"""The same for answers that read or compute much: uploads and evaluations."""
SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and the reader of its answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of httpx for the body: `content` or `files`."""
    seconds: float = ANSWER_SECONDS
    is_repeatable: bool = False
    """Whether sending it twice does what sending it once does."""

    def __iter__(self) -> "Generator[Call[Any], Any, T]":
        answer: T = yield self
        return answer

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def repeatable(self) -> "Call[T]":
        """Return the call, marked as one that may be sent again."""
        return replace(self, is_repeatable=True)


class Steps(Protocol[T_co]):
    """One or more calls that lead to a result: a `Call`, or a generator that yields calls and is
    sent their answers."""

    def __iter__(self) -> Generator[Call[Any], Any, T_co]: ...


def call(
    method: str,
    path: str,
    read: Callable[[httpx.Response], T],
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str | None] | None = None,
    seconds: float = ANSWER_SECONDS,
    **body: Any,
) -> Call[T]:
    """Return a call without the parameters and headers that are None. A body `json` may have
    values that JSON lacks, such as numpy's."""
    sent = given(**(headers or {}))
    if "json" in body:
        sent["Content-Type"] = "application/json"
        body["content"] = encode(body.pop("json"))
    return Call(
        method,
        path,
        read,
        given(**(params or {})),
        sent,
        body,
        seconds,
        method in SAFE,
    )


def path(*steps: object) -> str:
    """Return a path, some of whose steps are ids or names.

    Raises:
        ValueError: one of them would change the path.
    """
    for step in map(str, steps):
        if step in ("", ".", ".."):
            raise ValueError(f"{step!r} is neither an id nor a name")
    return "".join(f"/{quote(str(step), safe='@')}" for step in steps)


def given(**fields: object) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def reads(kind: type[T]) -> Callable[[httpx.Response], T]:
    """Return a reader of JSON documents of a kind."""
    hashable: Any = kind
    adapter: TypeAdapter[T] = _adapter(hashable)

    def read(response: httpx.Response) -> T:
        return adapter.validate_json(response.content)

    return read


def reads_page(kind: type[T]) -> Callable[[httpx.Response], Page[T]]:
    """Return a reader of pages."""
    return reads(Page[kind])  # type: ignore[valid-type]


def reads_list(kind: type[T]) -> Callable[[httpx.Response], list[T]]:
    """Return a reader of lists that have one page only."""
    read = reads_page(kind)
    return lambda response: read(response).data


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def reads_nothing(response: httpx.Response) -> None:
    """Read an answer that has no content."""


def pages(
    call_of: Callable[[str | None, int], Call[Page[T]]], limit: int | None, page_size: int = 1000
) -> Generator[Call[Any], Any, list[T]]:
    """Return the first `limit` elements of a list, or all, page by page.

    `call_of` returns the call for the page after a cursor with a number of elements.
    """
    found: list[T] = []
    after: str | None = None
    while limit is None or len(found) < limit:
        wanted = page_size if limit is None else min(page_size, limit - len(found))
        page: Page[T] = yield from call_of(after, wanted)
        found += page.data
        if page.next is None:
            break
        after = page.next
    return found
