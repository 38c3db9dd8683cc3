"""Formulas and tensor expressions give the same value to the same text."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.expressions import run
from ml.expressions.formula import Expression

VALUES = {"x": [0.25, -1.5, 3.0], "y": [[2.0], [-0.5]]}
# Smooth and bounded functions only: the one uses float64, the other float32.
FORMULAS = st.recursive(
    st.sampled_from(["x", "y", "e", "pi", "2", "0.5", "-1.25"]),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from("+-*"), parts).map(lambda p: f"({' '.join(p)})"),
        st.tuples(parts, st.sampled_from(["/ 4", "** 2"])).map(" ".join).map("({})".format),
        parts.map("-{}".format),
        parts.map("minimum({}, y)".format),
        st.tuples(st.sampled_from(["sin", "tanh", "sigmoid", "relu", "abs"]), parts).map(
            lambda p: f"{p[0]}({p[1]})"
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, database=None)
@given(FORMULAS)
def test_formulas_have_the_same_value_as_tensor_expressions(source: str) -> None:
    values = {name: torch.tensor(value) for name, value in VALUES.items()}
    formula = Expression.parse(source, values).evaluate(values)
    (tensor,) = run([source], VALUES)
    assert list(formula.shape) == tensor.shape
    np.testing.assert_allclose(formula, np.array(tensor.value, float), rtol=1e-3, atol=1e-3)
