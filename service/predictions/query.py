"""What the query of a prediction request says of a body that cannot say it itself."""

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

RawType = Literal["uint8", "float32", "float64"]
RAW_TYPES: dict[RawType, np.dtype[Any]] = {
    "uint8": np.dtype("u1"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}


@dataclass(frozen=True)
class PredictQuery:
    """The parameters of a query."""

    model_name: str | None
    dtype: RawType | None
    """Of bare numbers."""
    pixels: PixelRange | None

    @property
    def model(self) -> str:
        """The model that is named.

        Raises:
            Unprocessable: none is.
        """
        if not self.model_name:
            message = "is missing; name the model in the query: /predict?model=mnist"
            raise Unprocessable.at(Invalid(message), "query", "model")
        return self.model_name


def parse_query(scope: Scope) -> PredictQuery:
    """Return the parsed query of a request.

    Raises:
        Unprocessable: there is no such type, or no such range of pixels.
    """
    return _parse_query(scope["query_string"])


@lru_cache(maxsize=64)  # the same is asked again and again
def _parse_query(query: bytes) -> PredictQuery:
    given = QueryParams(query)
    dtype, pixels = given.get("dtype"), given.get("pixels")
    if dtype is not None and dtype not in RAW_TYPES:
        raise _unknown("dtype", dtype, RAW_TYPES)
    if pixels is not None and pixels not in PIXEL_MAXIMA:
        raise _unknown("pixels", pixels, PIXEL_MAXIMA)
    return PredictQuery(given.get("model"), dtype, pixels)


def _unknown(name: str, given: str, known: Iterable[str]) -> Unprocessable:
    message = f"must be {' or '.join(known)}, not {given!r}"
    return Unprocessable.at(Invalid(message), "query", name)
