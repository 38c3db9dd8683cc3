"""A budget for all request bodies in memory."""

from fastapi import HTTPException

from service.errors import Overloaded


class BodyBudget:
    """Bytes of request bodies in memory, over all connections of a process."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffered = 0
        """Bytes in the buffers of connections, at their last check."""
        self._held = 0

    def check(self, size: int) -> None:
        """Check that a body of `size` bytes has room at present.

        Raises:
            HTTPException: it has none.
        """
        if self._held + self.buffered + size > self.limit:
            # Not a `Problem`: while reading the body, FastAPI passes on only its own exception.
            raise HTTPException(
                Overloaded.status,
                f"the request bodies in memory exceed {self.limit:,} bytes "
                "(EPOCHD_MAX_BODIES_MB); retry later",
                Overloaded.headers,
            )

    def hold(self, size: int) -> None:
        """Count `size` more bytes; raises as `check` does."""
        self.check(size)
        self._held += size

    def release(self, size: int) -> None:
        """Count `size` bytes less."""
        self._held -= size
