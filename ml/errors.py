"""Errors of `ml` that the user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Loc = tuple[str | int, ...]
"""Path of a value in the caller's document: `("inputs", 3, "a")`."""
MAX_PLACE = 300
"""Maximum number of characters of a key in a path; one that is longer is cut."""
MAX_FAULT = 500
"""Maximum number of characters of what a parser says about a damaged file."""


class Invalid(ValueError):
    """Invalid user input; `loc` is its path, `msg` states the problem and the remedy."""

    def __init__(self, msg: str, loc: Loc = ()) -> None:
        super().__init__(msg)
        self.msg = msg
        self.loc = shortened(loc)

    def at(self, *prefix: str | int) -> "Invalid":
        """Return the same error with `prefix` prepended to its path."""
        return Invalid(self.msg, (*prefix, *self.loc))

    def with_place(self) -> str:
        """Return the message, preceded by its path if it has one: `features.x: must be ...`."""
        return f"{'.'.join(map(str, self.loc))}: {self.msg}" if self.loc else self.msg


def shortened(loc: Loc) -> Loc:
    """Return a path whose keys are at most `MAX_PLACE` characters long: a client chooses them."""
    return tuple(
        f"{step[:MAX_PLACE]}…" if isinstance(step, str) and len(step) > MAX_PLACE else step
        for step in loc
    )


@contextmanager
def located_at(*prefix: str | int) -> Iterator[None]:
    """Prepend `prefix` to the path of every `Invalid` raised in this context."""
    try:
        yield
    except Invalid as error:
        raise error.at(*prefix) from None


class DataUnavailable(RuntimeError):
    """All sources of a data set failed; the message names every source tried."""


class Diverged(ArithmeticError):
    """The loss, a gradient or a weight became NaN or infinite; the message names epoch, step and
    the first bad tensor, and `forward_call` is the traceback of its computation, if recorded."""

    def __init__(self, message: str, forward_call: str | None = None) -> None:
        super().__init__(message)
        self.forward_call = forward_call


class Damaged(RuntimeError):
    """A stored file is missing, or is not as it was written; `fault` says what is wrong with it.

    `whole` is what the file belongs to, such as "the data set ds_1", and `remedy` mends it.
    """

    def __init__(
        self, path: Path, fault: str, whole: str | None = None, remedy: str | None = None
    ) -> None:
        # A parser may write several lines, and the whole path.
        self.fault = " ".join(fault.replace(str(path), path.name).split())[:MAX_FAULT]
        self.path = path
        self.whole = whole
        self.remedy = remedy
        super().__init__(self._message(path))

    def brief(self) -> str:
        """Return the message without the directory of the file, for users of the service."""
        return self._message(self.path.name)

    def _message(self, file: str | Path) -> str:
        whole = f"{self.whole} is damaged: " if self.whole else ""
        return f"{whole}{file} {self.fault}{f'; {self.remedy}' if self.remedy else ''}"


@contextmanager
def belonging_to(whole: str, remedy: str) -> Iterator[None]:
    """Name the whole and the remedy in every `Damaged` raised in this context."""
    try:
        yield
    except Damaged as error:
        raise Damaged(error.path, error.fault, whole, remedy) from error
