"""Drawings and photos become images like those of MNIST."""

from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from ml.errors import Invalid
from ml.images.ink import ImageForm
from ml.images.strokes import patches
from tests.ml.images.drawings import Grey, difference, encoded, read, seven

FORM = ImageForm()


def formed(image: Image.Image, form: ImageForm = FORM) -> Grey:
    return form.apply(np.asarray(image))


def foreground_size(image: Grey) -> tuple[int, int]:
    rows, columns = np.nonzero(image)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def shifted_difference(one: Grey, other: Grey) -> float:
    """Smallest difference over shifts by a pixel, since the centre of mass may round either way."""
    shifts = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return min(difference(one, np.roll(other, shift, axis=(0, 1))) for shift in shifts)


SAME = 4.0
"""Shifted difference in grey levels below which two 28x28 results show the same 7."""


def like_mnist() -> Grey:
    return formed(seven())


def test_image_of_the_right_size_is_unchanged() -> None:
    faint = like_mnist() // 2
    faint[3, 3] = 1

    assert np.array_equal(FORM.apply(read(encoded(Image.fromarray(faint)))), faint)


@pytest.mark.parametrize("polarity", [1, -1])
def test_foreground_of_an_image_of_the_right_size_is_centred(polarity: int) -> None:
    first_row = int(np.nonzero(like_mnist())[0].min())
    shifted = np.roll(like_mnist(), -first_row, axis=0)
    assert shifted[0].max() > 200

    image = FORM.apply(shifted if polarity > 0 else 255 - shifted)

    assert shifted_difference(image, like_mnist()) < 3 * SAME


def test_image_that_fills_its_canvas_is_unchanged() -> None:
    form = ImageForm(box=28, center="box")
    shifted = np.roll(like_mnist(), 3, axis=1)

    assert np.array_equal(form.apply(shifted), shifted)


def test_image_of_the_right_size_is_inverted_if_dark_on_light() -> None:
    assert np.array_equal(FORM.apply(255 - like_mnist()), like_mnist())


def test_canvas_and_box_have_the_requested_sizes() -> None:
    form = ImageForm(height=40, width=32, box=24)

    image = formed(seven(), form)

    assert (image.shape, image.dtype) == ((40, 32), np.uint8)
    assert max(foreground_size(image)) == 24


def test_background_is_black_and_foreground_white() -> None:
    image = formed(seven(ground=190, foreground=90))

    assert image.max() == 255
    assert image[0].max() == 0
    assert foreground_size(image)[0] == 20


@pytest.mark.parametrize(("at", "tall"), [((90, 60), 160), ((20, 200), 50), ((200, 20), 80)])
def test_centre_of_mass_is_centred(at: tuple[int, int], tall: int) -> None:
    image = formed(seven(at=at, tall=tall, pen=tall // 7)).astype(float)

    row, column = (
        np.average(np.arange(28), weights=image.sum(axis=other), axis=0) for other in (1, 0)
    )
    # The images of MNIST have theirs at (14, 14).
    assert abs(row - 14) <= 0.51
    assert abs(column - 14) <= 0.51


def test_box_can_be_centred() -> None:
    image = formed(seven(), ImageForm(center="box"))

    rows, columns = np.nonzero(image)
    assert (rows.min(), rows.max()) == (4, 23)
    assert abs(columns.min() + columns.max() - 27) <= 1


def test_foreground_is_not_cut_if_the_box_fills_the_canvas() -> None:
    image = formed(seven(), ImageForm(box=28))

    assert foreground_size(image)[0] == 28


@pytest.mark.parametrize(
    "image",
    [
        seven(ground=0, foreground=255),
        seven(ground=240, foreground=100),
        seven(ground=100, foreground=250),
        seven(size=(400, 300), at=(270, 30)),
        seven(size=(1400, 1100), at=(1000, 700)),
        seven(size=(2000, 1500), at=(300, 500), tall=800, pen=110),
        seven(size=(120, 400), at=(10, 100), tall=80, pen=11),
    ],
    ids=["light", "greyish", "light-on-grey", "off-centre", "small", "large", "narrow"],
)
def test_variants_of_a_drawing_give_the_same_result(image: Image.Image) -> None:
    assert shifted_difference(formed(image), like_mnist()) < SAME


def test_different_drawings_give_different_results() -> None:
    mirrored = seven().transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    assert shifted_difference(formed(mirrored), like_mnist()) > 3 * SAME


def photographed(page: Image.Image, noise: float) -> Grey:
    """A noisy JPEG photo of a page whose light increases from left to right."""
    reflected = np.asarray(page) / 255 * np.linspace(120, 230, page.width)
    seen = reflected + np.random.default_rng(0).normal(0, noise, reflected.shape)
    return read(encoded(Image.fromarray(seen.clip(0, 255).astype(np.uint8)), "JPEG", quality=70))


@pytest.mark.parametrize("at", [(30, 60), (240, 60)])
@pytest.mark.parametrize("noise", [0, 8])
def test_uneven_light_and_noise_are_removed(at: tuple[int, int], noise: float) -> None:
    page = seven(size=(400, 300), at=at, foreground=70)

    image = FORM.apply(photographed(page, noise))

    assert shifted_difference(image, like_mnist()) < 1.5 * SAME
    assert image[:3].max() == 0


def test_shadow_with_a_hard_edge_is_removed() -> None:
    shaded = np.array(seven(size=(400, 280), at=(200, 60), foreground=110))
    shaded[:, :110] = 150

    assert shifted_difference(FORM.apply(shaded), like_mnist()) < SAME


def test_uneven_light_is_removed_behind_a_foreground_at_the_border() -> None:
    page = seven(size=(300, 240), at=(0, 60), foreground=120)
    page.paste(120, (0, 60, 10, 240))

    image = FORM.apply(photographed(page, noise=0))

    lit_evenly = formed(page)
    assert shifted_difference(image, lit_evenly) < 1.5 * SAME


@pytest.mark.parametrize("side", [1, 5])
def test_specks_do_not_widen_the_box(side: int) -> None:
    page = seven()
    for corner in [(5, 5), (270, 8), (260, 265)]:
        page.paste(0, (*corner, corner[0] + side, corner[1] + side))

    assert shifted_difference(formed(page), like_mnist()) < SAME


def test_separate_strokes_are_all_foreground() -> None:
    page = seven()
    page.paste(0, (25, 170, 60, 200))

    assert foreground_size(like_mnist())[1] < 20
    assert foreground_size(formed(page))[1] == 20


def test_soft_edges_are_kept() -> None:
    enlarged = np.kron(like_mnist(), np.ones((10, 10), np.uint8))

    assert shifted_difference(FORM.apply(enlarged), like_mnist()) < SAME / 2


@pytest.mark.parametrize("size", [(28, 28), (280, 280), (1, 1), (300, 1)])
@pytest.mark.parametrize("level", [0, 130, 255])
def test_blank_image_is_refused(size: tuple[int, int], level: int) -> None:
    with pytest.raises(Invalid, match="the image is blank"):
        formed(Image.new("L", size, level))


@pytest.mark.parametrize("noise", [0, 2, 8])
def test_photo_of_a_blank_page_is_refused(noise: float) -> None:
    with pytest.raises(Invalid, match="the image is blank"):
        FORM.apply(photographed(Image.new("L", (400, 300), 255), noise))


def test_faint_mark_counts_as_blank() -> None:
    with pytest.raises(Invalid, match="the image is blank"):
        formed(seven(ground=200, foreground=192))


def test_dust_alone_counts_as_blank() -> None:
    page = Image.new("L", (100, 100), 255)
    page.putpixel((40, 60), 0)

    with pytest.raises(Invalid, match="the image is blank"):
        formed(page)


def test_winding_stroke_is_one_patch() -> None:
    winding = np.zeros((60, 60), np.bool_)
    winding[::4] = True
    winding[2::8, -1] = winding[1::8, -1] = winding[3::8, -1] = True
    winding[6::8, 0] = winding[5::8, 0] = winding[7::8, 0] = True
    found = patches(winding)
    assert np.unique(found[winding]).size == 1
    assert not found[~winding].any()

    winding[30, 30] = True
    assert np.unique(patches(winding)[winding]).size == 2


def test_form_round_trips_as_plain_data() -> None:
    form = ImageForm(height=32, width=48, box=30, center="box")

    assert asdict(form) == {"height": 32, "width": 48, "box": 30, "center": "box"}
    assert ImageForm(**asdict(form)) == form


@pytest.mark.parametrize("box", [0, 29])
def test_box_must_fit_on_the_canvas(box: int) -> None:
    with pytest.raises(Invalid, match="from 1 to 28") as refusal:
        ImageForm(box=box)

    assert refusal.value.loc == ("box",)
