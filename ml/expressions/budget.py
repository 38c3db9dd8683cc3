"""Limit on the work of a request, checked before each operation."""

from ml.errors import Invalid

MAX_WORK = 30_000_000
"""Elements that the expressions of a request may read and write in total; some are weighted."""
STEP = 1000
"""Minimum cost of an operation."""
BACKWARD = 3
"""Maximum cost of differentiating an operation, relative to its own."""
WRITING = 20
"""Cost of writing one number of a response."""


class Budget:
    """Remaining work of a request."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, work: int) -> None:
        """Subtract `work` from the budget.

        Raises:
            Invalid: the budget is exceeded.
        """
        if work > self._left:
            raise Invalid("this is too much to compute; use smaller tensors or fewer operations")
        self._left -= work
