"""Work on requests: the threads that do it, and the totals it shares."""

from service.work.budget import Budget
from service.work.executors import Executors


class Work(Executors):
    """The thread pools and budgets of a web process."""

    def __init__(self, memory: int, pixels: int) -> None:
        super().__init__()
        self.memory = Budget(memory)
        """Bytes of memory for large bodies while they are decoded."""
        self.pixels = Budget(pixels)
        """Pixels of images while they are decoded."""
