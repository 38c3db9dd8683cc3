"""Tensor expressions have PyTorch's values, dtypes, views and gradients."""

from typing import Any

import pytest
import torch

from ml.errors import Invalid
from ml.expressions import Result, run
from ml.expressions.values import to_json
from tests.ml.expressions.conftest import TENSORS


def evaluate(expression: str, **variables: Any) -> Result:
    return run([expression], variables)[0]


def gradients_of(expressions: list[str], zero_grad: bool = False, **variables: Any) -> list[Any]:
    return [r.gradients for r in run(expressions, variables, True, zero_grad)]


def test_tutorial_gradients() -> None:
    assert gradients_of(["x**2 + y**3 + 10"], x=2.0, y=3.0) == [{"x": 4, "y": 27}]
    assert gradients_of(["2*sum(a*b)"], a=[1, 2], b=[3, 4]) == [{"a": [6, 8], "b": [2, 4]}]


def test_gradients_accumulate_or_are_zeroed() -> None:
    assert gradients_of(["x**2", "x**3"], x=5) == [{"x": 10}, {"x": 85}]
    assert gradients_of(["x**2", "x**3", "2*x"], True, x=5) == [{"x": 10}, {"x": 75}, {"x": 2}]
    assert gradients_of(["y = x**2", "z = x**3"], x=5) == [{"x": 10}, {"x": 85}]


@pytest.mark.parametrize(
    ("expression", "value", "dtype"),
    [
        ("dot([1,2,3],[4,5,6])", 32, "int64"),
        ("[[1,2],[3,4]] @ [[1,2],[3,4]].T", [[5, 11], [11, 25]], "int64"),
        ("[[1,2],[3,4]] + [10,20]", [[11, 22], [13, 24]], "int64"),
        ("tensor([1,2,3])", [1, 2, 3], "int64"),
        ("[1.0]", [1], "float32"),
        ("[True, 2]", [1, 2], "int64"),
        ("tensor([1,2]).float()", [1, 2], "float32"),
        ("torch.tensor([1, 0], dtype=torch.bool)", [True, False], "bool"),
        ("zeros(2,3)", [[0, 0, 0], [0, 0, 0]], "float32"),
        ("zeros((1,2), dtype=int64)", [[0, 0]], "int64"),
        ("eye(2)", [[1, 0], [0, 1]], "float32"),
        ("arange(3)", [0, 1, 2], "int64"),
        ("arange(5, 0, -2)", [5, 3, 1], "int64"),
        ("linspace(0,1,5)", [0, 0.25, 0.5, 0.75, 1], "float32"),
        ("x.view(2,6)[1]", [6, 7, 8, 9, 10, 11], "int64"),
        ("x.reshape(-1, 4)[:, 0]", [0, 4, 8], "int64"),
        ("x[1:8][::3]", [1, 4, 7], "int64"),
        ("x[-1]", 11, "int64"),
        ("x[argmax(x) - 1]", 10, "int64"),
        ("m.T[0]", [1, 3], "int64"),
        ("f[..., ::2]", [[1, 3], [4, 6]], "float32"),
        ("f[:, None, 1]", [[2], [5]], "float32"),
        ("f[f > 4]", [5, 6], "float32"),
        ("f[[0, 1], [2, 0]]", [3, 4], "float32"),
        ("f.shape", [2, 3], "int64"),
        ("f.shape[0] * f.ndim", 4, "int64"),
        ("f.sum(dim=1)", [6, 15], "float32"),
        ("f.sum(dim=(0, 1), keepdim=True)", [[21]], "float32"),
        ("f.mean(0)", [2.5, 3.5, 4.5], "float32"),
        ("std(f, 1)", [1, 1], "float32"),
        ("f.max()", 6, "float32"),
        ("max(f, dim=1)", [3, 6], "float32"),
        ("max(f, 4 * ones(3))", [[4, 4, 4], [4, 5, 6]], "float32"),
        ("2 * m", [[2, 4], [6, 8]], "int64"),
        ("m / 2", [[0.5, 1], [1.5, 2]], "float32"),
        ("(m > 1) & ~(m == 4)", [[False, True], [True, False]], "bool"),
        ("where(f > 3, f, 0)", [[0, 0, 0], [4, 5, 6]], "float32"),
        ("cat([m, m], dim=1)", [[1, 2, 1, 2], [3, 4, 3, 4]], "int64"),
        ("stack([m[0], m[1]], 1)", [[1, 3], [2, 4]], "int64"),
        ("x[:2].unsqueeze(1)", [[0], [1]], "int64"),
        ("x[:2].unsqueeze(0).squeeze()", [0, 1], "int64"),
        ("f @ f.T", [[14, 32], [32, 77]], "float32"),
        ("0.1 + 0.2 * ones(1)", [0.3], "float32"),
        ("(2 + 3) * 2 > 9", True, "bool"),
        ("f[0, 2].item() * 2", 6, "float32"),
    ],
)
def test_values_and_dtypes_match_pytorch(expression: str, value: Any, dtype: str) -> None:
    result = evaluate(expression, **TENSORS)
    assert (result.value, result.dtype) == (value, dtype)


def test_random_numbers_are_reproducible() -> None:
    one, again = (run(["rand(2, 3)", "randn(2)"], {}, seed=1) for _ in range(2))
    assert [r.value for r in one] == [r.value for r in again]
    assert one[0].value != run(["rand(2, 3)"], {}, seed=2)[0].value
    random = torch.Generator().manual_seed(1)
    assert one[0].value == to_json(torch.rand(2, 3, generator=random))


@pytest.mark.parametrize(
    ("expression", "view_of"),
    [
        ("x.view(2, 6)", "x"),
        ("x.reshape(2, 6)", "x"),
        ("m.T", "m"),
        ("m[0]", "m"),
        ("f[:, 1:][0]", "f"),
        ("x.unsqueeze(0)", "x"),
    ],
)
def test_views_name_their_base(expression: str, view_of: str) -> None:
    result = evaluate(expression, **TENSORS)
    assert (result.is_view, result.view_of) == (True, view_of)


@pytest.mark.parametrize(
    "expression", ["x", "x + 0", "m.T.reshape(4)", "f[f > 1]", "x[[0]]", "x[:2].clone()", "f.sum()"]
)
def test_copies_are_not_views(expression: str) -> None:
    result = evaluate(expression, **TENSORS)
    assert (result.is_view, result.view_of) == (False, None)


def test_views_of_literals_and_of_assigned_names() -> None:
    literal, y, part = run(["[[1, 2]].T", "y = arange(4)", "y[1:]"], {})
    assert (literal.is_view, literal.view_of) == (True, None)
    assert (y.is_view, part.is_view, part.view_of) == (False, True, "y")


def test_non_finite_values_are_text() -> None:
    assert evaluate("[1.0, -1.0, 0.0] / 0").value == ["Infinity", "-Infinity", "NaN"]
    assert evaluate("log(0)").value == "-Infinity"
    assert gradients_of(["sqrt(x)"], x=0.0) == [{"x": "Infinity"}]


def test_floats_are_written_with_the_fewest_digits() -> None:
    assert evaluate("x", x=[0.1, 1 / 3]).value == [0.1, 0.33333334]


def test_integers_become_floats_only_for_gradients() -> None:
    plain, differentiated = evaluate("x**2", x=2), run(["x**2"], {"x": 2}, True)[0]
    assert (plain.dtype, plain.requires_grad, plain.gradients) == ("int64", False, None)
    assert (differentiated.dtype, differentiated.requires_grad) == ("float32", True)


def test_only_named_variables_get_gradients() -> None:
    (result,) = run(["sum(w * x[i])"], {"w": [1, 2], "x": [3, 4, 5], "i": [0, 2]}, ["w"])
    assert result.gradients == {"w": [3, 5]}
    with pytest.raises(Invalid) as caught:
        run(["w"], {"w": 1}, ["w", "q"])
    assert (caught.value.loc, caught.value.msg) == (("gradients", 1), "'q' is not a variable")


def test_gradients_flow_through_assigned_names() -> None:
    step, loss = run(["y = x**2", "sum(y * 3)"], {"x": [5, 1]}, True)
    assert (step.value, step.gradients, step.graph) == ([25, 1], None, None)
    assert loss.gradients == {"x": [30, 6]}


def test_result_without_variables_has_no_gradient() -> None:
    (result,) = run(["sum(x > 1)"], {"x": [1, 2]}, True)
    assert (result.requires_grad, result.gradients, result.graph) == (False, {"x": None}, None)


def test_graph_matches_autograd() -> None:
    graph = run(["x**2 + 3*y"], {"x": 2, "y": 3}, True)[0].graph
    assert graph is not None
    assert [(n.id, n.op, n.symbol, n.text, n.variable) for n in graph.nodes] == [
        (0, "AddBackward0", "+", "x**2 + 3*y", None),
        (1, "PowBackward0", "**", "x**2", None),
        (2, "AccumulateGrad", None, None, "x"),
        (3, "MulBackward0", "*", "3*y", None),
        (4, "AccumulateGrad", None, None, "y"),
    ]
    edges = {(edge.source, edge.target) for edge in graph.edges}
    assert edges == {(1, 0), (3, 0), (2, 1), (4, 3)}


def test_variables_may_shadow_functions_and_constants() -> None:
    assert evaluate("(x - mean) / std + mean(x)", x=[1.0, 3.0], mean=2, std=0.5).value == [0, 4]
    assert evaluate("e", e=1).value == 1
    assert evaluate("torch.e", e=1).value == pytest.approx(2.7182817)
