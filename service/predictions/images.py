"""Images in prediction requests, decoded within budgets.

All headers are read first, so that a request is refused before a pixel takes memory. Small images
are decoded in groups, large ones one at a time and by threads of their own: no small image waits
for them. Between two groups, the request ends if its client has left or its deadline has passed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid, located_at
from ml.images.header import ImageHeader
from ml.inference.model import Inputs, Model
from service.errors import TooLarge
from service.predictions.payloads import ImageFiles, check_count
from service.settings import Settings
from service.work import Work
from service.work.attended import AttendedRequest, Check

SMALL_PIXELS = 1_000_000
"""Pixels up to which images need no place in the budget, and pixels of a group of images."""
GROUP_FILES = 64
PIXEL_BYTES = 8
"""Memory of a pixel of a colour image while it is decoded; the budget counts those."""


@dataclass(frozen=True)
class _Group:
    """Consecutive images that are decoded together."""

    start: int
    stop: int
    pixels: int
    """Pixels of colour images that take as much memory."""


async def read_images(
    payload: ImageFiles, model: Model, settings: Settings, work: Work, request: AttendedRequest
) -> Inputs:
    """Return the images of a request in the form that `model` takes.

    Raises:
        Invalid: an image cannot be decoded; `loc` is its place in `payload.files`.
        TooLarge: there are too many images, or too many pixels in all.
        Overloaded, DeadlineExceeded, ClientGone: see `Budget.hold` and `AttendedRequest.run`.
    """
    check_count(len(payload.files), settings)
    groups = await request.run(work.decode, _groups, payload.files, model, settings, request.check)
    arrays: list[NDArray[Any]] = []
    for group in groups:
        part = replace(payload, files=payload.files[group.start : group.stop])
        try:
            if group.pixels <= SMALL_PIXELS:
                arrays.append(await request.run(work.decode, part.inputs, model, settings))
            else:
                async with work.pixels.hold(group.pixels, request):
                    arrays.append(
                        await request.run(work.large_images, part.inputs, model, settings)
                    )
        except Invalid as error:
            match error.loc:
                case (int(index), *rest):
                    raise Invalid(error.msg, (group.start + index, *rest)) from None
            raise
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def _groups(files: Sequence[bytes], model: Model, settings: Settings, check: Check) -> list[_Group]:
    """Read the headers of `files`, check their pixels, and divide them into groups."""
    form, total = model.image_form(), 0
    if not files:
        raise Invalid("is empty; give at least one image")
    outputs = prod(model.manifest.signature.inputs.shape)
    costs = []
    for index, file in enumerate(files):
        check()
        with located_at(index):
            header = form.header(file, max_pixels=settings.max_image_pixels)
        # A tiny file may become a larger input.
        total += max(header.pixels, outputs)
        if total > settings.max_request_pixels:
            raise TooLarge(
                f"the images have over {settings.max_request_pixels:,} pixels in all, the limit of "
                "EPOCHD_MAX_REQUEST_PIXELS; send them in several requests"
            )
        costs.append(_cost(header))
    return list(_divided(costs))


def _cost(header: ImageHeader) -> int:
    return -(-header.nbytes // PIXEL_BYTES)


def _divided(costs: Sequence[int]) -> Iterator[_Group]:
    start = pixels = 0
    for index, cost in enumerate(costs):
        if index > start and (pixels + cost > SMALL_PIXELS or index - start == GROUP_FILES):
            yield _Group(start, index, pixels)
            start, pixels = index, 0
        pixels += cost
    if costs:
        yield _Group(start, len(costs), pixels)
