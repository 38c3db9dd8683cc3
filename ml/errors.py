"""What can go wrong in `ml` for reasons the user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

Loc = tuple[str | int, ...]
"""Where in the caller's document a value stands: `("inputs", 3, "a")`."""


class Invalid(ValueError):
    """A value from the user is wrong; `loc` says where, `msg` says what would be right."""

    def __init__(self, msg: str, loc: Loc = ()) -> None:
        super().__init__(msg)
        self.msg = msg
        self.loc = loc

    def at(self, *prefix: str | int) -> "Invalid":
        """The same complaint, seen from a document that holds the value under `prefix`."""
        return Invalid(self.msg, (*prefix, *self.loc))

    def with_place(self) -> str:
        """Return the message, after its place if it has one: `features.x: must be ...`."""
        return f"{'.'.join(map(str, self.loc))}: {self.msg}" if self.loc else self.msg


@contextmanager
def located_at(*prefix: str | int) -> Iterator[None]:
    """Give what is found wrong in this context its place in the document around it."""
    try:
        yield
    except Invalid as error:
        raise error.at(*prefix) from None


class DataUnavailable(RuntimeError):
    """A data set could be read from none of its sources; the message names every source tried."""


class Diverged(ArithmeticError):
    """The loss became NaN or infinite; the message names epoch, step and the first bad tensor."""
