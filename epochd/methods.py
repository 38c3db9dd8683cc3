"""Methods made of calls, so that each call is written once for both kinds of clients."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from epochd.calls.call import Steps

P = ParamSpec("P")
T = TypeVar("T")
K_co = TypeVar("K_co", covariant=True)
Info_contra = TypeVar("Info_contra", contravariant=True)
K = TypeVar("K")
Made = TypeVar("Made")
S = TypeVar("S", bound=Callable[..., Any])


class Sends(Protocol):
    """Sends calls, and waits for their answers."""

    def _run(self, steps: Steps[T]) -> T: ...


class SendsAsync(Protocol):
    """Sends calls, and lets others run until they are answered."""

    async def _run(self, steps: Steps[T]) -> T: ...


class SendsFor(Sends, Protocol[K_co]):
    """The same for an object of the service, which calls name by its key."""

    @property
    def _key(self) -> K_co: ...


class Updates(SendsFor[K_co], Protocol[K_co, Info_contra]):
    """The same for an object whose state an answer replaces."""

    def _becomes(self, info: Info_contra) -> Self: ...


class SendsForAsync(SendsAsync, Protocol[K_co]):
    """The same for an object of the service, which calls name by its key."""

    @property
    def _key(self) -> K_co: ...


class UpdatesAsync(SendsForAsync[K_co], Protocol[K_co, Info_contra]):
    """The same for an object whose state an answer replaces."""

    def _becomes(self, info: Info_contra) -> Self: ...


U = TypeVar("U", bound="Updates[Any, Any]")
V = TypeVar("V", bound="UpdatesAsync[Any, Any]")
Info = TypeVar("Info")
C = TypeVar("C", bound=Sends)
A = TypeVar("A", bound=SendsAsync)


def method(steps: Callable[P, Steps[T]]) -> Callable[Concatenate[Sends, P], T]:
    """Return a method that sends a call."""

    def send(self: Sends, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(steps(*args, **kwargs))

    return _like(steps, send)


def async_method(
    steps: Callable[P, Steps[T]],
) -> Callable[Concatenate[SendsAsync, P], Coroutine[Any, Any, T]]:
    """Return a coroutine method that sends a call."""

    async def send(self: SendsAsync, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(steps(*args, **kwargs))

    return _like(steps, send)


def method_of(
    steps: Callable[Concatenate[K, P], Steps[T]],
) -> Callable[Concatenate[SendsFor[K], P], T]:
    """Return a method of an object that sends a call about it."""

    def send(self: SendsFor[K], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(steps(self._key, *args, **kwargs))

    return _like(steps, send, leaves_out=1)


def async_method_of(
    steps: Callable[Concatenate[K, P], Steps[T]],
) -> Callable[Concatenate[SendsForAsync[K], P], Coroutine[Any, Any, T]]:
    """Return a coroutine method of an object that sends a call about it."""

    async def send(self: SendsForAsync[K], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(steps(self._key, *args, **kwargs))

    return _like(steps, send, leaves_out=1)


def maker(
    steps: Callable[P, Steps[T]], kind: Callable[[C, T], Made]
) -> Callable[Concatenate[C, P], Made]:
    """Return a method that sends a call, and makes an object of the answer."""

    def send(self: C, /, *args: P.args, **kwargs: P.kwargs) -> Made:
        return kind(self, self._run(steps(*args, **kwargs)))

    return _like(steps, send)


def async_maker(
    steps: Callable[P, Steps[T]], kind: Callable[[A, T], Made]
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, Made]]:
    """Return a coroutine method that sends a call, and makes an object of the answer."""

    async def send(self: A, /, *args: P.args, **kwargs: P.kwargs) -> Made:
        return kind(self, await self._run(steps(*args, **kwargs)))

    return _like(steps, send)


def updater(
    steps: Callable[Concatenate[K, P], Steps[Info]],
) -> Callable[Concatenate[U, P], U]:
    """Return a method that sends a call about an object, takes the answer as its new state, and
    returns it."""

    def send(self: U, /, *args: P.args, **kwargs: P.kwargs) -> U:
        return self._becomes(self._run(steps(self._key, *args, **kwargs)))

    return _like(steps, send, leaves_out=1)


def async_updater(
    steps: Callable[Concatenate[K, P], Steps[Info]],
) -> Callable[Concatenate[V, P], Coroutine[Any, Any, V]]:
    """Return a coroutine method that sends a call about an object, takes the answer as its new
    state, and returns it."""

    async def send(self: V, /, *args: P.args, **kwargs: P.kwargs) -> V:
        return self._becomes(await self._run(steps(self._key, *args, **kwargs)))

    return _like(steps, send, leaves_out=1)


def _like(steps: Callable[..., Any], send: S, leaves_out: int = 0) -> S:
    """Give a method the name, the docstring and the signature of its call, for `help`."""
    parameters = list(inspect.signature(steps).parameters.values())[leaves_out:]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    send.__name__ = steps.__name__
    send.__doc__ = steps.__doc__
    send.__signature__ = inspect.Signature([itself, *parameters])  # type: ignore[attr-defined]
    return send
