"""Requests of huge images at the endpoint: the event loop goes on, and memory stays bounded."""

import asyncio
import io
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from starlette.types import Receive, Scope, Send

from ml.images.ink import ImageForm
from ml.inference.model import Model
from ml.inputs.table_rows import NOWHERE
from service.access.caller import ANYBODY, SCOPE_KEY, Caller
from service.errors import NotFound
from service.predictions.endpoint import PredictEndpoint
from service.predictions.images import PIXEL_BYTES
from service.settings import Settings
from service.work import Work
from tests.slowness import longest_gap

MIB = 1024 * 1024
TICK = 0.005


def png(side: int) -> bytes:
    page = Image.new("RGBA", (side, side), "white")
    ImageDraw.Draw(page).rectangle([side // 3, side // 4, side // 2, side // 2], fill="black")
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def huge() -> bytes:
    """49 megapixels in two hundred kilobytes."""
    return png(7000)


class Digits:
    """A model that answers the brightness of an image."""

    manifest: Any = SimpleNamespace(
        signature=SimpleNamespace(
            inputs=SimpleNamespace(kind="images", form=ImageForm(), shape=(28, 28))
        )
    )
    image_form = Model.image_form
    images = Model.images

    def to_json(self, predictions: Sequence[float]) -> list[float]:
        return list(predictions)


class Models:
    """A cache of one model."""

    loaded: Any = SimpleNamespace(model=Digits(), ref=SimpleNamespace(name="digits", version=1))

    async def find(self, reference: str, caller: Caller) -> Any:
        if reference != "digits":
            raise NotFound(reference)
        return self.loaded

    async def predict(self, _: Any, inputs: Any, receive: Any) -> tuple[list[float], Any]:
        return [float(value) for value in np.mean(inputs, axis=(1, 2))], NOWHERE


def memory(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", text)[1])  # type: ignore[index]


async def tick(gaps: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(TICK)
        gaps.append(time.perf_counter() - start - TICK)


async def ask(client: httpx.AsyncClient, *images: bytes) -> httpx.Response:
    files = [("file", (f"{i}.png", image, "image/png")) for i, image in enumerate(images)]
    return await client.post("/predict", params={"model": "digits"}, files=files)


def endpoint(settings: Settings) -> tuple[httpx.AsyncClient, Work]:
    work = Work(memory=512 * MIB, pixels=settings.max_image_pixels)
    predict: Any = PredictEndpoint(None, Models(), settings, work)  # type: ignore[arg-type]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await predict(scope | {SCOPE_KEY: ANYBODY}, receive, send)

    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=120), work


def test_others_go_on_while_huge_images_are_decoded(settings: Settings, huge: bytes) -> None:
    patient = settings.model_copy(update={"predict_seconds": 120})

    async def run() -> tuple[list[httpx.Response], list[float], int]:
        client, work = endpoint(patient)
        small, quick, gaps = png(100), 0, [0.0]
        expected = (await ask(client, small)).raise_for_status().json()
        ticking = asyncio.create_task(tick(gaps))
        forms = [asyncio.create_task(ask(client, huge, huge)) for _ in range(2)]
        while not all(form.done() for form in forms):
            assert (await ask(client, small)).json() == expected
            quick += 1
        ticking.cancel()
        answers = [form.result() for form in forms]
        work.close()
        return answers, gaps, quick

    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    answers, gaps, quick = asyncio.run(run())
    grown, kept = memory("VmHWM") - before, memory("VmRSS") - before
    print(f"gap {max(gaps):.3f} s, peak {grown / MIB:.0f} MiB, kept {kept / MIB:.0f} MiB, {quick}")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert quick > 10
    assert max(gaps) < longest_gap()
    assert grown <= 4 * 4 * len(huge) + 64 * MIB + PIXEL_BYTES * settings.max_image_pixels
    assert kept < 64 * MIB


def test_forms_of_too_many_pixels_are_refused_at_once(settings: Settings, huge: bytes) -> None:
    async def run() -> list[httpx.Response]:
        client, work = endpoint(settings)
        answers = await asyncio.gather(*(ask(client, *[huge] * 6) for _ in range(8)))
        work.close()
        return answers

    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    answers = asyncio.run(run())
    assert {answer.status_code for answer in answers} == {413}
    assert "EPOCHD_MAX_REQUEST_PIXELS" in answers[0].json()["detail"]
    assert memory("VmHWM") - before < 4 * 8 * 6 * len(huge) + 64 * MIB
