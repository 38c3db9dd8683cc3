"""Warnings about data: uses of it that its owner may not expect."""

from typing import Literal

from pydantic import Field

from ml.strict import Frozen


class DataWarning(Frozen):
    """A warning about the data that a job or a data set uses."""

    column: str | None = Field(
        description="Column that the warning is about; null if it is about none or several."
    )
    kind: Literal["constant", "empty", "form", "inexact", "leading_zeros", "notation"] = Field(
        description="`constant`: a single value in the training rows; `empty`: none; `form`: the "
        "form of a file, guessed; `inexact`: whole numbers beyond 2^53; `leading_zeros`: digits "
        "that are codes rather than a quantity; `notation`: numbers with a unit, or with marks "
        "other than a decimal point."
    )
    message: str
