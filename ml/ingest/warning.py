"""Warnings about data: uses of it that its owner may not expect."""

from typing import Literal

from pydantic import Field

from ml.strict import Frozen


class DataWarning(Frozen):
    """A warning about the data that a job or a data set uses."""

    column: str | None = Field(
        description="Column that the warning is about; null if it is about none or several."
    )
    kind: Literal[
        "constant", "empty", "inexact", "left_out", "one_hot", "pixels", "unit", "unseen_class"
    ] = Field(
        description="`constant`: a single value in the training rows; `empty`: none; `inexact`: "
        "whole numbers beyond 2^53; `left_out`: a column or array that cannot be used; `one_hot`: "
        "one-hot labels, read as classes; `pixels`: pixels that were converted, or are all dark; "
        "`unit`: durations or times of day, read as seconds; `unseen_class`: classes that only "
        "other rows than the training rows have."
    )
    message: str
