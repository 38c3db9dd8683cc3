"""Digits on paper, as people hold it, become the images of MNIST that they were drawn from."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ml.datasets import mnist_files
from ml.datasets.mnist import FORMS
from ml.errors import Invalid
from ml.images.ink import ImageForm
from tests.ml.images.drawings import Grey, seven
from tests.ml.images.papers import KINDS, drawn

FORM = FORMS["mnist"]
COUNT = 2
ALIKE = 0.75
"""Correlation of two images above which they show the same digit in the same form."""


@pytest.fixture(scope="module")
def digits(mnist_root: object) -> NDArray[np.uint8]:
    raw = mnist_files.fetch(mnist_files.FAMILIES["mnist"], mnist_root)  # type: ignore[arg-type]
    return raw.test_images.numpy()


def likeness(one: Grey, other: Grey) -> float:
    """Greatest correlation over shifts by a pixel."""
    shifts = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return max(
        float(np.corrcoef(one.ravel(), np.roll(other, shift, axis=(0, 1)).ravel())[0, 1])
        for shift in shifts
    )


@pytest.mark.parametrize("kind", KINDS)
def test_digit_is_found_on_its_paper(kind: str, digits: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(3)
    for digit in digits[4000 : 4000 + COUNT]:
        image = FORM.apply(np.asarray(drawn(kind, digit, random).convert("L")))
        turned = [
            np.asarray(Image.fromarray(digit).rotate(degrees, Image.Resampling.BICUBIC))
            for degrees in ((-10, 10) if kind == "turned" else (0,))
        ]
        assert max(likeness(image, other) for other in turned) > ALIKE


def test_images_of_mnist_are_unchanged(digits: NDArray[np.uint8]) -> None:
    for digit in digits[::100]:
        assert np.array_equal(FORM.apply(digit), digit)
        assert np.array_equal(FORM.apply(255 - digit), digit)


def laid_on_a_desk(card: Image.Image) -> Grey:
    desk = Image.new("L", (640, 520), 60)
    desk.paste(card, (150, 90))
    return np.asarray(desk)


def test_blank_card_on_a_desk_is_blank() -> None:
    with pytest.raises(Invalid, match="blank"):
        FORM.apply(laid_on_a_desk(Image.new("L", (280, 280), 245)))


def test_card_on_a_desk_is_read_like_the_card() -> None:
    alone, on_desk = np.asarray(seven()), laid_on_a_desk(seven())
    assert likeness(FORM.apply(on_desk), FORM.apply(alone)) > 0.98


def test_lines_are_removed_and_what_crosses_them_stays() -> None:
    page = np.array(seven())
    page[20::40] = page[21::40] = 0
    assert likeness(FORM.apply(page), FORM.apply(np.asarray(seven()))) > 0.95


def test_lines_alone_are_blank() -> None:
    page = np.full((300, 300), 250, np.uint8)
    page[20::40] = page[21::40] = 100
    with pytest.raises(Invalid, match="blank"):
        FORM.apply(page)


def test_clothes_are_not_thinned() -> None:
    shirt = Image.new("L", (200, 200), 255)
    shirt.paste(40, (60, 30, 140, 180))
    shirt.paste(40, (20, 30, 180, 70))
    image = ImageForm(box=28, center="box").apply(np.asarray(shirt))
    assert (image > 128).mean() == pytest.approx((80 * 150 + 80 * 40) / 160**2, abs=0.08)
