"""Images of NPZ files as the field writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.errors import Invalid
from ml.evaluation.evaluate import evaluation_split
from tests.ml.ingest.npz.files import images_of, kinds, npz, stored_images, stored_labels
from tests.ml.ingest.reading import read
from tests.ml.shelf import Shelf

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (4, 5, 6), np.uint8)
GREY[0, 0, 0] = 255
COLOUR = RANDOM.integers(0, 256, (4, 5, 6, 3), np.uint8)
LABELS = np.array([1, 0, 0, 1])


def test_keras_splits_are_kept(tmp_path: Path) -> None:
    schema = images_of(
        tmp_path, x_test=GREY[:1], y_test=LABELS[:1], x_train=GREY[1:], y_train=LABELS[1:]
    )
    assert schema.splits == {"train": 3, "test": 1}
    np.testing.assert_array_equal(stored_images(tmp_path), np.roll(GREY, -1, 0))
    assert stored_labels(tmp_path, schema) == ["0", "0", "1", "1"]


def test_medmnist_splits_are_kept(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for number, part in enumerate(("train", "val", "test")):
        arrays[f"{part}_images"] = np.full((4 - number, 5, 6, 3), 100 + number, np.uint8)
        arrays[f"{part}_labels"] = LABELS[: 4 - number, None].astype(np.uint8)
    schema = images_of(tmp_path, **arrays)
    assert schema.splits == {"train": 4, "validation": 3, "test": 2}
    assert schema.channels == 3
    assert stored_images(tmp_path)[:, 0, 0, 0].tolist() == [100] * 4 + [101] * 3 + [102] * 2
    assert stored_labels(tmp_path, schema) == list("100110010")
    assert kinds(schema) == [(None, "split")]


@pytest.mark.parametrize(
    ("images", "labels"),
    [("X", "y"), ("data", "target"), ("Images", "LABELS"), ("inputs", "targets"), ("a", "b")],
)
def test_arrays_have_their_usual_names(tmp_path: Path, images: str, labels: str) -> None:
    schema = images_of(tmp_path, **{images: GREY, labels: LABELS})
    assert (schema.rows, schema.splits) == (4, None)
    assert stored_labels(tmp_path, schema) == ["1", "0", "0", "1"]


def test_arrays_beside_images_and_labels_are_left_out(tmp_path: Path) -> None:
    schema = images_of(tmp_path, images=GREY, labels=LABELS, class_names=np.array(["a", "b"]))
    assert kinds(schema) == [("class_names", "left_out")]
    schema = images_of(
        tmp_path,
        {"ignore": ["masks"]},
        images=GREY,
        masks=np.array([{}], object),
        labels=LABELS,
    )
    assert schema.warnings == []


FRACTIONS = GREY / np.float32(255)
BYTES_12 = (GREY.astype(np.uint16) * 16 + 8).clip(0, 4095).astype(np.uint16)


@pytest.mark.parametrize(
    ("images", "options", "expected", "warned"),
    [
        (FRACTIONS, {}, GREY, ["pixels"]),
        (FRACTIONS.astype(np.float16), {}, GREY, ["pixels"]),
        (GREY.astype(np.float64), {}, GREY, []),
        (np.minimum(GREY + 0.25, 255.0), {}, GREY, []),
        (GREY.astype(np.int64), {}, GREY, []),
        (GREY.astype(np.uint16) * 257, {}, GREY, ["pixels"]),
        (GREY.astype(">u2") * 257, {}, GREY, ["pixels"]),
        (BYTES_12, {}, np.rint(BYTES_12 * (255 / 4095)), ["pixels"]),
        (GREY > 128, {}, (GREY > 128) * 255, ["pixels"]),
        (GREY // 16, {}, GREY // 16, ["pixels"]),
        (GREY // 255, {"pixels": "0-1"}, GREY // 255 * 255, ["pixels"]),
        (GREY // 255, {"pixels": "0-255"}, GREY // 255, ["pixels"]),
        (BYTES_12, {"pixels": "0-65535"}, np.rint(BYTES_12 / 257), ["pixels"]),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_pixels_of_every_range_become_bytes(
    tmp_path: Path, images: Any, options: dict[str, Any], expected: Any, warned: list[str]
) -> None:
    schema = images_of(tmp_path, options, x=images, y=LABELS)
    np.testing.assert_array_equal(stored_images(tmp_path), expected)
    assert [kind for _, kind in kinds(schema)] == warned


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (GREY // 255, {}, "pixels of uint8 up to 1: black and white.* set pixels=0-1 or"),
        (FRACTIONS * 1.02, {}, "up to 1.02, which is no usual range; scale them to 0-1 or 0-255"),
        (FRACTIONS * 2 - 1, {}, "row 1, array 'x': the image has the pixel -"),
        (np.where(GREY == 255, np.nan, GREY), {}, "row 1, array 'x': the image has the pixel nan"),
        (GREY * 1e6, {}, "up to 2.55e.08, which is no usual range"),
        (GREY, {"pixels": "0-1"}, "up to 255, which is outside 0-1"),
        (GREY.astype(str), {}, "are <U3; they must be numbers"),
    ],
    ids=str,
)
def test_pixels_of_no_usual_range_are_refused(
    tmp_path: Path, images: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        images_of(tmp_path, options, x=images, y=LABELS)


def test_opacity_is_composed_on_white(tmp_path: Path) -> None:
    opacity = np.tile(np.array([0, 51, 255, 255, 255, 255], np.uint8)[:, None], (4, 5, 1, 1))
    schema = images_of(tmp_path, x=np.concatenate([COLOUR, opacity], 3), y=LABELS)
    assert (schema.channels, kinds(schema)) == (3, [(None, "pixels")])
    stored = np.moveaxis(stored_images(tmp_path), 1, -1)
    assert (stored[:, :, 0] == 255).all()
    half = np.rint(COLOUR[:, :, 1] * 0.2 + 255 * 0.8)
    np.testing.assert_array_equal(stored[:, :, 1], half)
    np.testing.assert_array_equal(stored[:, :, 2:], COLOUR[:, :, 2:])


@pytest.mark.parametrize(
    ("shape", "layout", "form"),
    [
        ((2, 5, 6), None, (5, 6, 1)),
        ((2, 5, 6, 1), None, (5, 6, 1)),
        ((2, 1, 5, 6), None, (5, 6, 1)),
        ((2, 3, 5, 6), None, (5, 6, 3)),
        ((2, 5, 6, 3), None, (5, 6, 3)),
        ((2, 4, 5, 6), None, (5, 6, 3)),
        ((2, 5, 6, 4), None, (5, 6, 3)),
        ((2, 3, 6, 3), "nhwc", (3, 6, 3)),
        ((2, 3, 6, 3), "nchw", (6, 3, 3)),
        ((2, 1, 1, 3), "nhwc", (1, 1, 3)),
        ((2, 1, 1, 3), "nchw", (1, 3, 1)),
        ((2, 3, 3), None, (3, 3, 1)),
    ],
)
def test_layouts(
    tmp_path: Path, shape: tuple[int, ...], layout: str | None, form: tuple[int, int, int]
) -> None:
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) + 50
    if 4 in (shape[1], shape[-1]):
        images[:, 3 if shape[1] == 4 else slice(None)] = 255
        images[..., 3 if shape[-1] == 4 else slice(None)] = 255
    schema = images_of(tmp_path, {"layout": layout}, x=images, y=np.array([0, 1]))
    assert (schema.height, schema.width, schema.channels) == form
    stored = stored_images(tmp_path)
    if layout == "nhwc" and form[2] == 3:
        np.testing.assert_array_equal(np.moveaxis(stored, 1, -1), images)
    if layout == "nchw":
        np.testing.assert_array_equal(stored.reshape(images.shape), images)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((2, 1, 1, 3), None, r"1x1 pixels with 3 channels \(layout=nhwc\) or of 1x3 pixels"),
        ((2, 3, 6, 3), None, r"images of 3x6 pixels .* or of 6x3 pixels .*; set layout"),
        ((2, 1, 6, 1), None, "set layout"),
        ((2, 5, 6, 2), None, "must be .rows, height, width., .* of 1, 3 or 4 channels"),
        ((2, 5, 6, 3), "nchw", "must be .rows, channels, height, width. of 1, 3 or 4"),
        ((2, 28, 28, 28), None, "of 1, 3 or 4 channels"),
        ((2, 2, 5, 6, 3), None, "of 1, 3 or 4 channels"),
        ((2, 0, 5), None, "no pixels"),
        ((2, 0, 5, 3), None, "no pixels"),
    ],
)
def test_shapes_that_are_not_plain_are_refused(
    tmp_path: Path, shape: tuple[int, ...], layout: str | None, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        images_of(tmp_path, {"layout": layout}, x=np.zeros(shape, np.uint8), y=np.array([0, 1]))


ONE_HOT = np.eye(12)[[11, 2, 2, 11]]


@pytest.mark.parametrize(
    ("labels", "expected", "warned"),
    [
        (np.array([11, 2, 2, 11]), ["2", "11"], []),
        (np.array([[11], [2], [2], [11]], np.uint8), ["2", "11"], []),
        (np.array([11.0, 2, 2, 11], np.float32), ["2", "11"], []),
        (ONE_HOT, ["2", "11"], ["one_hot"]),
        (ONE_HOT.astype(bool), ["2", "11"], ["one_hot"]),
        (np.asfortranarray(ONE_HOT), ["2", "11"], ["one_hot"]),
        (np.array(["cat", " dog", "dog", "cat"]), ["cat", "dog"], []),
        (np.array([["07"], ["7"], ["7"], ["07"]]), ["07", "7"], []),
    ],
)
def test_labels_of_every_form_are_classes(
    tmp_path: Path, labels: Any, expected: list[str], warned: list[str]
) -> None:
    schema = images_of(tmp_path, x=GREY, y=labels)
    assert [one.name for one in schema.classes] == expected
    assert [one.count for one in schema.classes] == [2, 2]
    assert [kind for _, kind in kinds(schema)] == warned


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.5, 1, 2, 3]), "row 1, array 'y': 0.5 is not a class"),
        (np.array([[1, 0], [1, 1], [0, 1], [0, 0]]), "row 2, .* not one-hot: 2 of 2 are set"),
        (np.array([[1.0, 0], [0.3, 0.7], [0, 1], [1, 0]]), "row 2, .* not one-hot"),
        (np.array([["a", "b"]] * 4), "have several texts in a row"),
        (np.array([0, -999, 1, 1]), "row 2, array 'y': the image has no label"),
        (np.zeros((4, 5, 6), np.uint8), "needs exactly one array of images"),
        (np.array(["a", "b", "a", {}], object), "'y' holds Python objects.*strings"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        images_of(tmp_path, {"missing": ["-999.0"]}, x=GREY, y=labels)


SPLIT = {"x_train": GREY, "y_train": LABELS, "x_test": GREY, "y_test": LABELS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": COLOUR}, r"'x_test' has rows of the shape \(5, 6, 3\), but 'x_train'"),
        ({"x_test": GREY[:, :4]}, r"'x_test' has rows of the shape \(4, 6\)"),
        ({"x_test": GREY / 255}, "'x_test' are float64, but 'x_train' are uint8"),
        (
            {"x_train": GREY / 1, "x_test": GREY / 255},
            "'x_test' have pixels up to 1, but 'x_train'",
        ),
        ({"y_test": LABELS.astype(str)}, "'y_test' holds <U.*, but 'y_train' int64"),
        ({"y_test": LABELS[:2]}, "'y_test' has 2 rows, but 'x_test' has 4"),
        ({"y_train": LABELS * 0}, "training images of one class"),
        ({"test_x": GREY}, "'x_test' and 'test_x' for the same rows"),
        ({"y_test": None}, "'y_train' of the train split, but none like it of the test split"),
        ({"x_train": None, "y_train": None}, "'x_test' but none for training"),
    ],
)
def test_splits_must_be_alike(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {name: value for name, value in (SPLIT | change).items() if value is not None}
    with pytest.raises(Invalid, match=message):
        read(tmp_path, npz(**arrays))


def test_a_class_of_the_test_split_alone_is_a_warning(tmp_path: Path) -> None:
    schema = images_of(tmp_path, **(SPLIT | {"y_test": LABELS + 1}))
    assert [one.name for one in schema.classes] == ["0", "1", "2"]
    assert kinds(schema) == [(None, "split"), (None, "unseen_class")]


def test_models_are_evaluated_on_the_test_split_of_the_file(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    arrays = SPLIT | {"x_test": GREY[:3], "y_test": LABELS[:3]}
    spec = shelf.spec({"id": shelf.put(npz(**arrays))})
    split, rows = evaluation_split(shelf.load(spec))
    assert (split, rows.targets.tolist()) == ("test", [1, 0, 0])
    np.testing.assert_array_equal(rows.inputs.numpy(), GREY[:3])
