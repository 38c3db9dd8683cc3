"""What can go wrong in `ml` for reasons the user can act on."""

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


class DataUnavailable(RuntimeError):
    """A data set could be read from none of its sources; the message names every source tried."""


class Diverged(ArithmeticError):
    """The loss became NaN or infinite; the message names epoch, step and the first bad tensor."""
