"""Warnings about devices that the scheduler has given up, shared with all web processes."""

from pathlib import Path

from service.readiness import Finding


class DeviceWarnings:
    """A file in the data directory with one warning per line."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def clear(self) -> None:
        """Delete the warnings of the previous service."""
        self._file.unlink(missing_ok=True)

    def add(self, warning: str) -> None:
        """Add a warning, shown until the service restarts."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{warning}\n")

    def all(self) -> list[str]:
        """Return the warnings, the oldest first."""
        try:
            return self._file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []

    def findings(self) -> list[Finding]:
        """Return the warnings for the readiness probe."""
        return [Finding(warning) for warning in self.all()]
