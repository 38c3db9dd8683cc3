"""Parameters that several routes have."""

from collections.abc import Callable
from re import fullmatch
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, WithJsonSchema

ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


def _id_of(noun: str, prefix: str) -> Callable[[str], str]:
    def checked(value: str) -> str:
        if not fullmatch(f"{prefix}_{ULID}", value):
            raise ValueError(f"is no id of a {noun}; take it from `next` of the page before")
        return value

    return checked


JobId = Annotated[str, Path(description="Id of the job.")]
DatasetId = Annotated[str, Path(description="Id of the data set.")]
ModelName = Annotated[str, Path(description="Name of the model.")]
Version = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the version.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Largest number of items on the page.")]
Owner = Annotated[str | None, Query(description="Owner of what is listed; by default, all.")]
JobCursor = Annotated[
    str,
    AfterValidator(_id_of("job", "job")),
    WithJsonSchema({"type": "string", "pattern": f"^job_{ULID}$"}),
]
DatasetCursor = Annotated[
    str,
    AfterValidator(_id_of("data set", "ds")),
    WithJsonSchema({"type": "string", "pattern": f"^ds_{ULID}$"}),
]
