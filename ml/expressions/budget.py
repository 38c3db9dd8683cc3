"""What a request may cost: counted before anything is computed."""

from ml.errors import Invalid

MAX_WORK = 30_000_000
"""Elements that all expressions of a request may read and write together; some count more."""
STEP = 1000
"""What any operation costs, however small."""
BACKWARD = 3
"""How often an operation's work is done again to differentiate it, at most."""
WRITING = 20
"""What it costs to write one number of an answer."""


class Budget:
    """How much work is left to a request."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, work: int) -> None:
        """Take `work` from what is left.

        Raises:
            Invalid: it is not there.
        """
        if work > self._left:
            raise Invalid("this is too much to compute; use smaller tensors or fewer operations")
        self._left -= work
