"""Arrays in NumPy's `.npy` format in requests."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.ingest.npy_header import read_npy_header
from service.errors import Unprocessable


def parse_npy(body: bytes) -> NDArray[Any]:
    """Return the array of a `.npy` file. Memory use is bounded by the size of the file.

    Raises:
        Unprocessable: the file is malformed or truncated, or contains Python objects.
    """
    try:
        header = read_npy_header(io.BytesIO(body).read)
        size = len(body) - header.nbytes
        if size != header.data_bytes:
            raise Invalid(
                f"has {size:,} bytes of numbers, but its header announces {header.data_bytes:,}"
            )
        # A copy, since PyTorch takes no arrays that cannot be written to.
        array = np.frombuffer(bytearray(memoryview(body)[header.nbytes :]), header.dtype)
        try:
            return array.reshape(header.shape, order="F" if header.is_fortran else "C")
        except ValueError as error:
            raise Invalid(f"has a broken header: {error}") from None
    except Invalid as error:
        message = f"is not a valid .npy file: the array {error.msg}"
        raise Unprocessable.at(Invalid(message), "body") from None
