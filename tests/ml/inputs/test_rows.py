"""Conversion of raw rows: valid rows become arrays, errors name their path."""

from typing import Any

import numpy as np
import pytest

from ml.errors import Invalid
from ml.images.ink import ImageForm
from ml.inputs.rows import feature_rows, pixel_rows
from ml.signature import Features, Images

ABC = Features(names=["a", "b", "c"])
TINY = Images(form=ImageForm(height=2, width=3, box=2))


def test_lists_and_objects_give_the_same_rows() -> None:
    rows = feature_rows(ABC, [[1, 2.5, -3], {"c": -3, "a": 1, "b": 2.5}])
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 2.5, -3]] * 2


def test_nested_and_flat_pixels_give_the_same_image() -> None:
    nested = pixel_rows(TINY, [[[0, 1, 2], [3, 4, 255]]], None)
    flat = pixel_rows(TINY, [[0, 1, 2, 3, 4, 255]], None)
    assert nested.shape == (1, 2, 3)
    assert np.array_equal(nested, flat)


def test_pixels_from_0_to_1_are_scaled() -> None:
    rows = pixel_rows(TINY, [[0, 0.2, 0.4, 0.6, 0.8, 1]], "0-1")
    assert rows.flatten().tolist() == pytest.approx([0, 51, 102, 153, 204, 255])


def test_all_black_image_is_not_ambiguous() -> None:
    assert pixel_rows(TINY, [[0] * 6], None).max() == 0


def test_nearly_black_image_is_accepted_with_an_explicit_range() -> None:
    assert pixel_rows(TINY, [[1] * 6], "0-255").max() == 1


@pytest.mark.parametrize(
    ("rows", "loc", "says"),
    [
        ([], (), "empty"),
        ([[1, 2, 3], [1, 2]], (1,), "2 values"),
        ([[1, 2, "x"]], (0, 2), "'x'"),
        ([{"a": 1, "b": 2, "c": None}], (0, "c"), "null"),
        ([{"a": 1, "b": 2}], (0,), "is missing 1 feature (c)"),
        ([{"a": 1, "b": 2, "c": 3, "d": 4}], (0, "d"), "takes 3 features (a, b, c)"),
        ([[1, 2, float("nan")]], (0, 2), "finite"),
        ([[1, 2, 1e39]], (0, 2), "finite"),
        ([[1, 2, 10**5000]], (0, 2), "finite"),
        ([[[1], 2, 3]], (0,), "different lengths"),
        ([[{}, 2, 3]], (0, 0), "an object"),
        (["abc"], (0,), "'abc'"),
        ([[1, 2, 3], {"a": 1, "b": 2, "c": "x"}], (1, "c"), "'x'"),
    ],
)
def test_invalid_feature_rows_are_refused(rows: list[Any], loc: tuple[Any, ...], says: str) -> None:
    with pytest.raises(Invalid) as caught:
        feature_rows(ABC, rows)
    assert caught.value.loc == loc
    assert says in caught.value.msg


@pytest.mark.parametrize(
    ("row", "pixels", "says"),
    [
        ([1, 1, 1, 1, 1, 1], None, "is ambiguous"),
        ([0, 0, 0, 0, 0, 0.5], None, "is ambiguous"),
        ([0, 0, 0, 0, 0, 256], None, "0 to 255"),
        ([0, 0, 0, 0, 0, -1], "0-255", "0 to 255"),
        ([0, 0, 0, 0, 0, 1.01], "0-1", "0 to 1"),
        ([0, 0, 0, 0, 0], None, "2x3 pixels"),
    ],
)
def test_invalid_pixels_are_refused(row: list[float], pixels: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        pixel_rows(TINY, [row], pixels)
    assert caught.value.loc == (0,)
