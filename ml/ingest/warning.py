"""Warnings about data: uses of it that its owner may not expect."""

from typing import Literal

from pydantic import Field

from ml.strict import Frozen


class DataWarning(Frozen):
    """A warning about the data that a job or a data set uses."""

    column: str | None = Field(
        description="Column that the warning is about; null if it is about none or several."
    )
    kind: Literal["constant", "empty", "form"] = Field(
        description="`constant`: a single value in the training rows; `empty`: none; `form`: how a "
        "file is written was guessed."
    )
    message: str
