"""Options for reading an uploaded file."""

from typing import Annotated, Literal

from pydantic import Field

from ml.ingest.schema import MAX_COLUMNS
from ml.strict import Strict

ColumnKind = Literal["numeric", "categorical", "boolean", "text"]
Encoding = Literal["utf-8", "utf-16", "utf-32", "latin-1", "windows-1252", "gb18030", "shift_jis"]
Delimiter = Literal[",", ";", "\t", "|"]
Layout = Literal["nhwc", "nchw"]
Pixels = Literal["0-1", "0-255", "0-4095", "0-65535"]
Side = Annotated[int, Field(ge=1, le=2048)]


class Options(Strict):
    """Properties of a file that cannot be, or are not to be, detected."""

    encoding: Encoding | None = Field(
        default=None, description="Encoding of a text file; None: UTF-8."
    )
    delimiter: Delimiter | None = Field(
        default=None, description="Field delimiter; None: the most frequent one in the header."
    )
    missing: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[],
        max_length=100,
        description="Texts that mark a missing value, in addition to the usual ones.",
    )
    types: dict[str, ColumnKind] = Field(
        default={},
        max_length=MAX_COLUMNS,
        description="Kinds of columns; those of the others are inferred.",
    )
    ignore: list[Annotated[str, Field(max_length=1000)]] = Field(
        default=[],
        max_length=MAX_COLUMNS,
        description="Columns to leave out; also arrays of an NPZ file.",
    )
    layout: Layout | None = Field(
        default=None,
        description="Order of the sides of an array of images: rows, height, width, channels "
        "(nhwc) or rows, channels, height, width (nchw); None: the one that fits its shape.",
    )
    pixels: Pixels | None = Field(
        default=None,
        description="Range of the pixels of an array of images; None: the one that fits them.",
    )
    image_size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Height and width that images are resized to; None: their own, if equal.",
    )
