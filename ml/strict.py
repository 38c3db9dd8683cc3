"""The bases of documents: those a user writes, and those that only we do."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A pydantic model that refuses unknown fields, text for numbers, NaN and infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, frozen=True, protected_namespaces=()
    )


class Frozen(BaseModel):
    """A value that is written and read by us alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
