"""Query parameters of prediction requests, for bodies other than JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from starlette.datastructures import QueryParams
from starlette.types import Scope

from ml.errors import Invalid
from ml.inputs.rows import PIXEL_MAXIMA, PixelRange
from service.errors import Unprocessable
from service.http.query import check_names

RawType = Literal["uint8", "float32", "float64"]
RAW_TYPES: dict[RawType, np.dtype[Any]] = {
    "uint8": np.dtype("u1"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}

PARAMETERS = dict.fromkeys(("model", "dtype", "pixels", "explain"), False)
"""The names, none of which is a list."""
EXPLAIN = {"true": True, "false": False}


@dataclass(frozen=True)
class PredictQuery:
    """Query parameters of a prediction request."""

    model_name: str | None
    dtype: RawType | None
    """dtype of an `application/octet-stream` body."""
    pixels: PixelRange | None
    explain: bool
    """Whether the response shows the images that the model saw."""

    @property
    def model(self) -> str:
        """Name of the model.

        Raises:
            Unprocessable: the parameter `model` is missing.
        """
        if not self.model_name:
            message = "is missing; name the model in the query: /predict?model=mnist"
            raise Unprocessable.at(Invalid(message), "query", "model")
        return self.model_name


def parse_query(scope: Scope) -> PredictQuery:
    """Parse the query of a request.

    Raises:
        Unprocessable: a name is unknown or repeated, or `dtype`, `pixels` or `explain` has an
            unknown value.
    """
    return _parse_query(scope["query_string"])


@lru_cache(maxsize=64)  # clients repeat the same query
def _parse_query(query: bytes) -> PredictQuery:
    given = QueryParams(query)
    check_names(given, PARAMETERS)
    dtype, pixels = given.get("dtype"), given.get("pixels")
    if dtype is not None and dtype not in RAW_TYPES:
        raise _unknown("dtype", dtype, RAW_TYPES)
    if pixels is not None and pixels not in PIXEL_MAXIMA:
        raise _unknown("pixels", pixels, PIXEL_MAXIMA)
    explain = given.get("explain", "false")
    if explain not in EXPLAIN:
        raise _unknown("explain", explain, EXPLAIN)
    return PredictQuery(given.get("model"), dtype, pixels, EXPLAIN[explain])


def _unknown(name: str, given: str, known: Iterable[str]) -> Unprocessable:
    message = f"must be {' or '.join(known)}, not {given!r}"
    return Unprocessable.at(Invalid(message), "query", name)
