"""Compatibility of data sets with a model."""

import pytest

from ml.errors import Invalid
from ml.evaluation import compatibility
from ml.images.ink import ImageForm
from ml.signature import Classes, Encoding, Features, Images, Signature, Value


def rows(*names: str) -> Features:
    return Features(names=list(names))


def pictures(size: int) -> Images:
    return Images(form=ImageForm(height=size, width=size, box=size, center="box"))


def classes(*names: str) -> Classes:
    return Classes(names=list(names))


PRICE = Value(name="price")
MODEL = Signature(inputs=rows("a", "b"), output=PRICE)
CLASSIFIER = Signature(inputs=pictures(28), output=classes("x", "y"))


@pytest.mark.parametrize("signature", [MODEL, CLASSIFIER])
def test_model_is_compatible_with_its_own_data(signature: Signature) -> None:
    compatibility.check(signature, signature)


@pytest.mark.parametrize("names", ["x", "yx"])
def test_rows_may_have_a_subset_of_classes_in_any_order(names: str) -> None:
    compatibility.check(Signature(inputs=pictures(28), output=classes(*names)), CLASSIFIER)


@pytest.mark.parametrize(
    ("inputs", "output", "model", "message"),
    [
        (rows("a"), PRICE, MODEL, "is missing features of this model: b; it has a"),
        (rows("a", "b", "c"), PRICE, MODEL, "features unknown to this model: c"),
        (
            Features(names=["a", "b"], encoding=Encoding(categories={"b": ["x"]}, width=2)),
            PRICE,
            MODEL,
            "categories in the feature 'b', but this model takes numbers",
        ),
        (rows("b", "a"), PRICE, MODEL, "in another order; this model requires a, b"),
        (
            rows("a", "b"),
            Value(name="rent"),
            MODEL,
            "value 'rent' as targets, but this model predicts the value",
        ),
        (
            rows("a", "b"),
            classes("x", "y"),
            MODEL,
            "the classes x, y as targets, but this model predicts the val",
        ),
        (pictures(28), PRICE, MODEL, "images of 28x28 pixels, but this model takes the features a"),
        (pictures(32), classes("x", "y"), CLASSIFIER, "32x32 pixels, but this model takes images"),
        (pictures(28), classes("x", "y", "z"), CLASSIFIER, "classes unknown to this model: z"),
        (
            rows(*(f"f{i}" for i in range(1000))),
            PRICE,
            CLASSIFIER,
            "f8, f9, ..., but this model takes images",
        ),
    ],
)
def test_incompatible_data_is_refused(
    inputs: Features | Images, output: Value | Classes, model: Signature, message: str
) -> None:
    with pytest.raises(Invalid, match=message.replace("...", r"\.\.\.")):
        compatibility.check(Signature(inputs=inputs, output=output), model)
