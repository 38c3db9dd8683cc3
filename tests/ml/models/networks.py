"""Networks of the tests of this folder."""

from typing import Any

import pytest
from torch import nn

from ml.datasets.mnist import FORMS
from ml.errors import Invalid
from ml.images.decode import PictureForm
from ml.models import SequentialSpec, blueprint
from ml.signature import Classes, Encoding, Features, Images, Signature, Value
from ml.strict import parse

DIGITS = Classes(names=list("0123456789"))
GREY = Signature(inputs=Images(form=FORMS["mnist"]), output=DIGITS)
COLOUR = Signature(inputs=Images(form=PictureForm(channels=3, height=20, width=30)), output=DIGITS)
ROWS = Signature(inputs=Features(names=["a", "b", "c"]), output=Value(name="y"))
TABLE = Signature(
    inputs=Features(names=["a", "b"], encoding=Encoding(categories={"b": ["", "", ""]}, width=5)),
    output=Value(name="y"),
)


def sequential(*layers: Any, **options: Any) -> SequentialSpec:
    return parse(SequentialSpec, {"kind": "sequential", "layers": list(layers)} | options)


def network(signature: Signature, *layers: Any, **options: Any) -> nn.Module:
    return blueprint(sequential(*layers, **options), signature)


def refusal(signature: Signature, *layers: Any, **options: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        network(signature, *layers, **options)
    return caught.value
