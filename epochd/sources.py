"""Sources of uploads: files, bytes and DataFrames."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, Any

Source = str | PathLike[str] | bytes | IO[bytes] | Any
"""A path, bytes, a file opened for reading bytes, or a DataFrame of pandas or polars."""
NAME = "dataset"


@dataclass(frozen=True)
class Upload:
    """A file to be sent."""

    name: str
    content: IO[bytes]

    @property
    def is_seekable(self) -> bool:
        """Whether it can be sent again from its beginning."""
        return self.content.seekable()


@contextmanager
def opened(source: Source) -> Iterator[Upload]:
    """Open what is to be uploaded.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is nothing that can be uploaded.
    """
    match source:
        case str() | PathLike():
            with Path(source).open("rb") as file:
                yield Upload(Path(source).name, file)
        case bytes() | bytearray():
            yield Upload(NAME, BytesIO(source))
        case _ if is_frame(source):
            yield _of_frame(source)
        case _ if hasattr(source, "read"):
            yield Upload(Path(str(getattr(source, "name", NAME))).name, source)
        case _:
            kinds = "a path, bytes, an open file or a DataFrame"
            raise TypeError(f"upload takes {kinds}, not {type(source).__name__}")


def is_frame(value: object) -> bool:
    """Return whether a value is a DataFrame of pandas or polars."""
    return hasattr(value, "columns") and (hasattr(value, "to_csv") or hasattr(value, "write_csv"))


def _of_frame(frame: Any) -> Upload:
    """Write a DataFrame as Parquet, which keeps its types, or where that is impossible as CSV."""
    content = BytesIO()
    if hasattr(frame, "write_parquet"):  # polars
        frame.write_parquet(content)
        return _rewound("parquet", content)
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    try:
        frame.to_parquet(content, index=False)
    except (ImportError, TypeError, ValueError):  # no pyarrow, or objects of several types
        return _rewound("csv", BytesIO(frame.to_csv(index=False).encode()))
    return _rewound("parquet", content)


def _rewound(form: str, content: BytesIO) -> Upload:
    content.seek(0)
    return Upload(f"{NAME}.{form}", content)
