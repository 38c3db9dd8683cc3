"""Formulas have Python's value and a gradient."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ml.errors import Invalid
from ml.expressions.formula import ARITHMETIC, FUNCTIONS, SIGNS, Expression, check_name
from ml.expressions.operations import CONSTANTS
from ml.expressions.syntax import MAX_NAME

IN_PYTHON: dict[str, Callable[..., float]] = {
    **{name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)},
    "abs": abs,
    "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
    "round": round,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "relu": lambda x: max(x, 0.0),
    "minimum": min,
    "maximum": max,
    "min": min,
    "max": max,
}


def evaluate(source: str, **values: float) -> float:
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    return Expression.parse(source, tensors).evaluate(tensors).item()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_match_python(name: str) -> None:
    points = (-2.5, -0.5, 0.0, 0.3, 0.5, 1.5, 2.5)
    compared = 0
    for xs in itertools.product(points, repeat=len(FUNCTIONS[name].parameters)):
        try:
            expected = IN_PYTHON[name](*xs)
        except ValueError:  # for example log(-2.5)
            continue
        values = dict(zip("xy", xs, strict=False))
        assert evaluate(f"{name}({', '.join(values)})", **values) == pytest.approx(expected)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("symbol", [operator.symbol for operator in ARITHMETIC.values()])
def test_operators_match_python(symbol: str) -> None:
    for x, y in [(7.5, 2.0), (-7.5, 2.0), (7.5, -2.0), (0.0, 3.0)]:
        expected = eval(f"x {symbol} y", {"x": x, "y": y})
        assert evaluate(f"x {symbol} y", x=x, y=y) == pytest.approx(expected)


@pytest.mark.parametrize("symbol", [operator.symbol for operator in SIGNS.values()])
def test_signs_match_python(symbol: str) -> None:
    assert evaluate(f"{symbol}x", x=1.5) == eval(f"{symbol}1.5")


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_match_python(name: str) -> None:
    assert evaluate(name) == getattr(math, name)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("2 + 3*x", 14),
        ("(2 + 3)*x", 20),
        ("2 - 3 - x", -5),
        ("-x**2", -16),
        ("2**-x", 1 / 16),
        ("2**3**2 + x", 516),
        ("x / 2 / 2", 1),
        ("x // 3 * 3 + x % 3", 4),
        ("2*(x*y)", 40),
        ("  x + y ", 9),
        ("sin(2*pi*x) * exp(-x)", 0),
        ("max(x, min(y, 3))", 4),
        ("1_000 + 1e3 + .5", 2000.5),
    ],
)
def test_precedence_matches_python(source: str, expected: float) -> None:
    assert evaluate(source, x=4, y=5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x**2 + y**2 < 20", [True, False, True]),
        ("x <= y", [True, True, False]),
        ("0 < x < 4", [True, True, False]),
        ("x == 4", [False, False, True]),
        ("x != 4", [True, True, False]),
        ("(x > 1) & (y > 1)", [False, True, False]),
        ("(x > 1) | (y > 1)", [True, True, True]),
        ("(x > 1) ^ (y > 1)", [True, False, True]),
        ("~(x > 1)", [True, False, False]),
        ("where(x > 1, y > 1, 1 < 2)", [True, True, False]),
        ("where(x > 0, log(x), 0) > 1", [False, False, True]),
    ],
)
def test_conditions_are_elementwise(source: str, expected: list[bool]) -> None:
    values = {"x": torch.tensor([1.0, 2.0, 4.0]), "y": torch.tensor([3.0, 5.0, -1.0])}
    expression = Expression.parse(source, values)
    assert expression.is_condition
    result = expression.evaluate(values)
    assert (result.dtype, result.tolist()) == (torch.bool, expected)


def test_where_chooses_numbers() -> None:
    values = {"x": torch.tensor([-1.0, 2.0])}
    expression = Expression.parse("where(x > 0, log(x), x/2)", values)
    assert not expression.is_condition
    result = expression.evaluate(values)
    assert result.dtype == torch.float32
    assert result.tolist() == pytest.approx([-0.5, math.log(2)])


def test_condition_without_variables_is_a_scalar() -> None:
    result = Expression.parse("1 < 2", ["x"]).evaluate({"x": torch.ones(3)})
    assert (result.shape, result.dtype, result.item()) == ((), torch.bool, True)
    expression = Expression.parse("x > 0", ["x"])
    assert expression.evaluate({"x": torch.tensor(1.0)}).dtype == torch.bool


@pytest.mark.parametrize("source", ["log(x) < 1", "where(log(x) < 1, 1, 2)"])
def test_comparisons_of_nan_are_refused(source: str) -> None:
    x = torch.tensor([1.0, -2.0, -3.0])
    with pytest.raises(Invalid, match=r"not defined at x=-2 \(2 such rows of 3\)"):
        Expression.parse(source, ["x"]).evaluate({"x": x})


def test_a_variable_may_have_the_name_of_where() -> None:
    x = torch.tensor([1.0, -1.0])
    expression = Expression.parse("where(where > 0, where, 0)", ["where"])
    assert expression.evaluate({"where": x}).tolist() == [1, 0]


def test_variable_shadows_a_constant() -> None:
    assert evaluate("e + pi", e=1) == 1 + math.pi


def test_values_of_undeclared_names_do_not_replace_constants() -> None:
    expression = Expression.parse("e * x", ["x"])
    values = {"x": torch.tensor(1.0), "e": torch.tensor(100.0)}
    assert expression.evaluate(values).item() == pytest.approx(math.e)


def test_only_used_variables_are_listed() -> None:
    assert Expression.parse("2*b + sin(e)", ["a", "b"]).variables == {"b"}


def test_expressions_are_equal_by_source_and_variables() -> None:
    assert Expression.parse("2*e", []) == Expression.parse("2*e", ["a"])
    assert Expression.parse("2*e", []) != Expression.parse("2*e", ["e"])


@pytest.mark.parametrize(
    ("source", "gradients"),
    [
        ("x**2 + y**3 + 10", (4, 27)),
        ("2*(x*y)", (6, 4)),
        ("x / y", (1 / 3, -2 / 9)),
        ("exp(2*x) - relu(y)", (2 * math.exp(4), -1)),
        ("maximum(x, y) + 0*x", (0, 1)),
    ],
)
def test_gradients_flow_to_the_variables(source: str, gradients: tuple[float, float]) -> None:
    x = torch.tensor(2.0, requires_grad=True)
    y = torch.tensor(3.0, requires_grad=True)
    Expression.parse(source, ["x", "y"]).evaluate({"x": x, "y": y}).backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == pytest.approx(gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_literals_do_not_change_the_dtype(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.ones(shape, dtype=dtype)
    result = Expression.parse("max(2.5*x**2, 1) + pi", ["x"]).evaluate({"x": x})
    assert (result.dtype, result.shape) == (dtype, shape)


def test_scalars_do_not_widen_the_dtype() -> None:
    values = {"x": torch.ones(3), "y": torch.tensor(1.0, dtype=torch.float64)}
    assert Expression.parse("2*x + 3*y", values).evaluate(values).dtype == torch.float32


def test_integers_become_floats_and_do_not_overflow() -> None:
    n = torch.tensor([9, -1])
    result = Expression.parse("10.0**(9*n)", ["n"]).evaluate({"n": n})
    assert result.tolist() == pytest.approx([1e81, 1e-9])
    assert Expression.parse("n / 4", ["n"]).evaluate({"n": torch.tensor(2)}).item() == 0.5
    assert evaluate("9**9**x", x=9) == math.inf


def test_formula_without_variables_is_a_scalar() -> None:
    two = Expression.parse("2", ["x"]).evaluate({"x": torch.ones(3)})
    assert (two.shape, two.dtype, two.item()) == ((), torch.float64, 2)


def test_values_are_broadcast() -> None:
    column, row = torch.tensor([[1.0], [2.0]]), torch.tensor([10.0, 20.0, 30.0])
    result = Expression.parse("x + y", ["x", "y"]).evaluate({"x": column, "y": row})
    assert result.tolist() == [[11, 21, 31], [12, 22, 32]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"x": torch.ones(3), "y": torch.ones(4)},
            r"cannot compute 'x - y' with x of shape \(3,\), y of shape \(4,\)",
        ),
        ({"x": torch.ones(3)}, "'x - y' needs a value for y"),
    ],
)
def test_incompatible_values_are_refused(values: dict[str, Tensor], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        Expression.parse("x - y", ["x", "y"]).evaluate(values)


@pytest.mark.parametrize("name", ["x", "_", "sepal_length", "é", "e", "pi", "n" * MAX_NAME])
def test_valid_names_are_accepted(name: str) -> None:
    check_name(name)
    assert Expression.parse(f"2*{name}", [name]).variables == {name}


# In thousandths: division by smaller numbers may give inf, which formulas refuse.
THOUSANDTHS = st.integers(-(10**6), 10**6).map(lambda n: n / 1000)
ARITHMETIC = st.recursive(
    THOUSANDTHS.map(str) | st.sampled_from("xy"),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from("+-*/"), parts).map(lambda p: f"({' '.join(p)})"),
        parts.map(lambda part: f"(-{part})"),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, database=None)
@given(ARITHMETIC, THOUSANDTHS, THOUSANDTHS)
def test_arithmetic_matches_python(source: str, x: float, y: float) -> None:
    expected: float | None
    try:
        expected = eval(source, {"x": x, "y": y})
    except ZeroDivisionError:
        expected = None
    if expected is not None and math.isfinite(expected):
        assert evaluate(source, x=x, y=y) == pytest.approx(expected, rel=1e-12)
