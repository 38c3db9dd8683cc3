"""Charts as files."""

from pathlib import Path
from typing import Literal

Form = Literal["svg", "png", "json"]


class Picture(bytes):
    """A file, which a notebook shows if it is a picture."""

    form: Form

    def __new__(cls, content: bytes, form: Form) -> "Picture":
        """Wrap the bytes of a file."""
        picture = super().__new__(cls, content)
        picture.form = form
        return picture

    def save(self, to: str | Path) -> Path:
        """Write the file and return its path."""
        Path(to).write_bytes(self)
        return Path(to)

    def _repr_svg_(self) -> str | None:
        return self.decode() if self.form == "svg" else None

    def _repr_png_(self) -> bytes | None:
        return bytes(self) if self.form == "png" else None

    def __repr__(self) -> str:
        return f"<{self.form} of {len(self):,} bytes>"
