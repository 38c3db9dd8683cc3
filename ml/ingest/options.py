"""How a user says that an uploaded file is to be read."""

from typing import Annotated, Literal

from pydantic import Field

from ml.ingest.schema import MAX_COLUMNS
from ml.strict import Strict

ColumnKind = Literal["numeric", "categorical", "boolean", "text"]
Encoding = Literal["utf-8", "utf-16", "utf-32", "latin-1", "windows-1252", "gb18030", "shift_jis"]
Delimiter = Literal[",", ";", "\t", "|"]
Side = Annotated[int, Field(ge=1, le=2048)]


class Options(Strict):
    """What a file does not tell by itself."""

    encoding: Encoding | None = Field(default=None, description="Of a text file; None: UTF-8.")
    delimiter: Delimiter | None = Field(
        default=None, description="Between fields; None: the one that the header has most of."
    )
    missing: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[],
        max_length=100,
        description="Texts that stand for a missing value, beside the usual ones.",
    )
    types: dict[str, ColumnKind] = Field(
        default={}, max_length=MAX_COLUMNS, description="Kinds of columns, where told."
    )
    image_size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Height and width to which images are resized; None: that of all of them.",
    )
