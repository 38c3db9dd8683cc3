"""Devices that the scheduler has given up, for the web processes, which may be others than its
own, to show."""

from pathlib import Path


class DeviceWarnings:
    """A file of the data directory, one warning a line."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def clear(self) -> None:
        """Forget the warnings of an earlier service."""
        self._file.unlink(missing_ok=True)

    def add(self, warning: str) -> None:
        """Add a warning, shown until the service is started again."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{warning}\n")

    def all(self) -> list[str]:
        """Return the warnings, the oldest first."""
        try:
            return self._file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
