"""Admission and decoding of the images of a request, with a stand-in for the model."""

import asyncio
import io
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.types import Message

from ml.errors import Invalid
from ml.images.decode import PictureForm
from ml.images.header import MEDIA_TYPES
from ml.inference.model import Model
from service.errors import ClientGone, DeadlineExceeded, TooLarge, UnsupportedMediaType
from service.predictions.images import GROUP_FILES, SMALL_PIXELS, read_images
from service.predictions.payloads import ImageFiles, reader_of
from service.settings import Settings
from service.work import Work
from service.work.attended import AttendedRequest

SIDE = 4
FORM = PictureForm(height=SIDE, width=SIDE, channels=1)


class Images:
    """The part of a model that reads images, and the numbers of files it was given at a time."""

    manifest = SimpleNamespace(signature=SimpleNamespace(inputs=SimpleNamespace(form=FORM)))

    def __init__(self, before: Callable[[Sequence[bytes]], object] = lambda _: None) -> None:
        self.manifest.signature.inputs.shape = (SIDE, SIDE)
        self.manifest.signature.inputs.kind = "images"
        self.calls: list[int] = []
        self._before = before

    def image_form(self) -> PictureForm:
        return FORM

    def images(self, files: Sequence[bytes], max_pixels: int) -> Any:
        self._before(files)
        self.calls.append(len(files))
        return Model.images(self, files, max_pixels)  # type: ignore[arg-type]


def png(level: int, side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), level).save(file, "PNG")
    return file.getvalue()


LARGE = png(9, 1500)


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def work() -> Work:
    return Work(memory=10**9, pixels=10**8)


def payload(files: list[bytes]) -> ImageFiles:
    return ImageFiles("m", files, [("body", i) for i in range(len(files))])


async def read(
    files: list[bytes],
    images: Images,
    settings: Settings,
    receive: Any = never,
    seconds: float = 60,
    shared: Work | None = None,
) -> Any:
    request = AttendedRequest(receive, seconds)
    return await read_images(payload(files), images, settings, shared or work(), request)  # type: ignore[arg-type]


def test_images_keep_their_order_in_groups(settings: Settings) -> None:
    files = [png(i) for i in range(100)]
    files[50] = LARGE
    images = Images()
    found = asyncio.run(read(files, images, settings))
    assert found.shape == (100, SIDE, SIDE)
    assert found[:, 0, 0].tolist() == [*range(50), 9, *range(51, 100)]
    assert images.calls == [50, 1, 49]
    images = Images()
    asyncio.run(read([png(1)] * (GROUP_FILES + 1), images, settings))
    assert images.calls == [GROUP_FILES, 1]


def test_every_format_of_uploads_is_read(settings: Settings) -> None:
    files = []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        file = io.BytesIO()
        Image.new("L", (8, 8), 100).save(file, kind)
        files.append(file.getvalue())
    found = asyncio.run(read(files, Images(), settings))
    assert np.abs(found.astype(int) - 100).max() <= 1
    for media_type in MEDIA_TYPES:
        scope = {"query_string": b"model=m"}
        payload = reader_of(media_type)(scope, files[0])
        assert isinstance(payload, ImageFiles)
    with pytest.raises(UnsupportedMediaType, match="image/webp"):
        reader_of("image/svg+xml")


@pytest.mark.parametrize("place", [0, 70, 99])
def test_a_bad_image_is_named_by_its_place(settings: Settings, place: int) -> None:
    files = [png(1)] * 100
    files[place] = png(1)[:40]
    with pytest.raises(Invalid, match="truncated or corrupt") as error:
        asyncio.run(read(files, Images(), settings))
    assert error.value.loc == (place,)


def test_pixels_are_counted_before_any_is_decoded(settings: Settings) -> None:
    images = Images()
    few = settings.model_copy(update={"max_request_pixels": 2 * 1500 * 1500})
    assert len(asyncio.run(read([LARGE] * 2, images, few))) == 2
    with pytest.raises(TooLarge, match=r"over 4,500,000 pixels in all.*EPOCHD_MAX_REQUEST_PIXELS"):
        asyncio.run(read([LARGE] * 3, Images(lambda _: pytest.fail("decoded")), few))
    tiny = settings.model_copy(update={"max_request_pixels": 10 * SIDE * SIDE})
    with pytest.raises(TooLarge):  # tiny files become larger inputs
        asyncio.run(read([png(1, 1)] * 11, Images(), tiny))
    with pytest.raises(Invalid, match="at least one image"):
        asyncio.run(read([], Images(), settings))


def test_decoding_ends_when_the_client_leaves(settings: Settings) -> None:
    async def leaving() -> list[int]:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        images = Images(lambda _: loop.call_soon_threadsafe(gone.set))
        with pytest.raises(ClientGone):
            await read([LARGE] * 40, images, settings, receive)
        return images.calls

    assert len(asyncio.run(leaving())) < 5


def test_decoding_ends_at_the_deadline(settings: Settings) -> None:
    passed = threading.Event()
    images = Images(lambda _: passed.wait(0.3))
    with pytest.raises(DeadlineExceeded):
        asyncio.run(read([LARGE] * 40, images, settings, seconds=0.2))
    assert len(images.calls) < 5


def test_small_images_do_not_wait_for_large_ones(settings: Settings) -> None:
    small_is_done, entered = threading.Event(), threading.Event()

    def wait_if_large(files: Sequence[bytes]) -> None:
        if len(files[0]) == len(LARGE):
            entered.set()
            assert small_is_done.wait(60)

    async def both() -> None:
        shared = work()
        images = Images(wait_if_large)
        large = [
            asyncio.create_task(read([LARGE] * 3, images, settings, shared=shared))
            for _ in range(20)
        ]
        await asyncio.to_thread(entered.wait, 60)
        assert len(await read([png(1)] * 3, images, settings, shared=shared)) == 3
        small_is_done.set()
        for array in await asyncio.gather(*large):
            assert len(array) == 3
        shared.close()

    asyncio.run(both())


def test_large_images_stay_within_the_budget(settings: Settings) -> None:
    cost = 1500 * 1500 // 2
    assert cost > SMALL_PIXELS

    async def many() -> int:
        shared = Work(memory=10**9, pixels=3 * cost // 2)
        held: list[int] = []
        images = Images(lambda _: held.append(shared.pixels.free))
        await asyncio.gather(*(read([LARGE], images, settings, shared=shared) for _ in range(6)))
        assert shared.pixels.free == 3 * cost // 2
        shared.close()
        return max(held)

    assert asyncio.run(many()) == cost // 2
