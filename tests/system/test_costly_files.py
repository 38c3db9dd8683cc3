"""Files that are small and take much to decode: others go on, and memory stays bounded."""

import io
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.slowness import longest_gap
from tests.system.server import PATIENCE, Server

MIB = 1024 * 1024
MAX_PIXELS = 50_000_000
"""Default of `EPOCHD_MAX_IMAGE_PIXELS`: of one image, and of all images decoded at a time."""
PIXEL_BYTES = 8


def png(side: int, mode: str = "RGBA") -> bytes:
    page = Image.new(mode, (side, side), (255, 255, 255, 255) if mode == "RGBA" else 255)
    ink = (0, 0, 0, 255) if mode == "RGBA" else 0
    line = [(side * 0.3, side * 0.2), (side * 0.7, side * 0.2), (side * 0.5, side * 0.8)]
    ImageDraw.Draw(page).line(line, fill=ink, width=side // 12)
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def huge() -> bytes:
    """49 megapixels in a few hundred kilobytes."""
    return png(7000)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE, limits=limits) as client:
        yield client


def status(server: Server, field: str) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", text)[1])  # type: ignore[index]


@contextmanager
def watched(server: Server, allowed: int) -> Iterator[list[float]]:
    """Check the longest answer of `/health/live` and the growth of memory, while in this context;
    yield the times of all answers."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before, stop, gaps = status(server, "VmRSS"), threading.Event(), [0.0]

    def poll() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE) as client:
            while not stop.wait(0.01):
                start = time.perf_counter()
                client.get("/health/live").raise_for_status()
                gaps.append(time.perf_counter() - start)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield gaps
    finally:
        stop.set()
        thread.join()
    assert max(gaps) < longest_gap()
    assert status(server, "VmHWM") - before <= allowed


def ask(client: httpx.Client, model: str, *images: bytes) -> httpx.Response:
    files = [("file", (f"{i}.png", image, "image/png")) for i, image in enumerate(images)]
    return client.post("/predict", params={"model": model}, files=files)


def test_huge_images_are_decoded_within_their_pixels(
    server: Server, client: httpx.Client, small: str, huge: bytes
) -> None:
    ask(client, small, png(100)).raise_for_status()
    allowed = 4 * 4 * len(huge) + 64 * MIB + PIXEL_BYTES * MAX_PIXELS
    with watched(server, allowed), ThreadPoolExecutor(4) as pool:
        forms = [pool.submit(ask, client, small, huge) for _ in range(4)]
        quick = 0
        while not all(form.done() for form in forms):
            ask(client, small, png(100)).raise_for_status()
            quick += 1
        answers = [form.result() for form in forms]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert quick > 10, "small images are answered while large ones are decoded"
    [expected] = ask(client, small, png(700)).json()["predictions"]
    for answer in answers:
        for prediction in answer.json()["predictions"]:
            assert prediction["class"] == expected["class"]


def test_too_many_pixels_are_refused_before_they_are_decoded(
    server: Server, client: httpx.Client, small: str, huge: bytes
) -> None:
    with watched(server, 4 * 6 * len(huge) + 64 * MIB):
        answer = ask(client, small, *[huge] * 6)
    assert answer.status_code == 413
    assert "EPOCHD_MAX_REQUEST_PIXELS" in answer.json()["detail"]


def test_images_of_clients_that_left_are_not_decoded(
    server: Server, client: httpx.Client, small: str, huge: bytes
) -> None:
    began = time.perf_counter()
    ask(client, small, huge).raise_for_status()
    one = time.perf_counter() - began
    with ThreadPoolExecutor(8) as pool:

        def ask_and_leave(_: int) -> None:
            with (
                httpx.Client(base_url=server.client.base_url, timeout=0.5) as impatient,
                pytest.raises(httpx.TimeoutException),
            ):
                ask(impatient, small, *[huge] * 4)

        list(pool.map(ask_and_leave, range(8)))
    began = time.perf_counter()
    ask(client, small, huge).raise_for_status()
    assert time.perf_counter() - began < 6 * one + 2, "32 images would take 32 times as long"


def test_a_zip_of_huge_images_is_refused_by_its_headers(
    server: Server, client: httpx.Client, huge: bytes
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(80):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", huge)
    params: dict[str, Any] = {"image_size": "32x32"}
    with watched(server, 4 * file.tell() + 64 * MIB):
        answer = client.post("/datasets", params=params, content=file.getvalue())
    assert answer.status_code == 422, answer.text
    assert "pixels in all" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"\x93NUMPY\x01\x00\x02\x00{}", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_damaged_arrays_are_refused(client: httpx.Client, small: str, body: bytes) -> None:
    headers = {"content-type": "application/x-npy"}
    answer = client.post("/predict", params={"model": small}, content=body, headers=headers)
    assert answer.status_code == 422
    assert "body: is not a valid .npy file" in answer.json()["detail"]
