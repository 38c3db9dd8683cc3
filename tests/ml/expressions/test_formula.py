"""Formulas: valid ones have Python's value and a gradient, invalid ones a plain message."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ml.errors import Invalid
from ml.expressions.formula import BINARY, FORMULA, FUNCTIONS, UNARY, Expression, check_name
from ml.expressions.operations import CONSTANTS
from ml.expressions.syntax import MAX_NAME

MAX_LENGTH, MAX_DEPTH, MAX_NODES = FORMULA.max_length, FORMULA.max_depth, FORMULA.max_nodes
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
EXAMPLES = settings(max_examples=200, deadline=None, database=None)


def evaluate(source: str, **values: float) -> float:
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    return Expression.parse(source, tensors).evaluate(tensors).item()


def refusal(source: str, *variables: str) -> str:
    with pytest.raises(Invalid) as caught:
        Expression.parse(source, variables)
    return caught.value.msg


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_pythons_value(name: str) -> None:
    points = (-2.5, -0.5, 0.0, 0.3, 0.5, 1.5, 2.5)
    compared = 0
    for xs in itertools.product(points, repeat=len(FUNCTIONS[name].parameters)):
        try:
            expected = IN_PYTHON[name](*xs)
        except ValueError:  # such as log(-2.5)
            continue
        values = dict(zip("xy", xs, strict=False))
        assert evaluate(f"{name}({', '.join(values)})", **values) == pytest.approx(expected)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("symbol", [operator.symbol for operator in BINARY.values()])
def test_an_operator_has_pythons_value(symbol: str) -> None:
    for x, y in [(7.5, 2.0), (-7.5, 2.0), (7.5, -2.0), (0.0, 3.0)]:
        expected = eval(f"x {symbol} y", {"x": x, "y": y})
        assert evaluate(f"x {symbol} y", x=x, y=y) == pytest.approx(expected)


@pytest.mark.parametrize("symbol", [operator.symbol for operator in UNARY.values()])
def test_a_sign_has_pythons_value(symbol: str) -> None:
    assert evaluate(f"{symbol}x", x=1.5) == eval(f"{symbol}1.5")


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_has_pythons_value(name: str) -> None:
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
def test_precedence_is_pythons(source: str, expected: float) -> None:
    assert evaluate(source, x=4, y=5) == pytest.approx(expected)


def test_a_variable_shadows_a_constant() -> None:
    assert evaluate("e + pi", e=1) == 1 + math.pi


def test_a_constant_is_not_replaced_by_a_value_that_was_no_variable() -> None:
    expression = Expression.parse("e * x", ["x"])
    values = {"x": torch.tensor(1.0), "e": torch.tensor(100.0)}
    assert expression.evaluate(values).item() == pytest.approx(math.e)


def test_only_the_variables_used_are_named() -> None:
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
def test_numbers_do_not_change_the_dtype(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.ones(shape, dtype=dtype)
    result = Expression.parse("max(2.5*x**2, 1) + pi", ["x"]).evaluate({"x": x})
    assert (result.dtype, result.shape) == (dtype, shape)


def test_a_value_without_dimensions_does_not_widen_the_others() -> None:
    values = {"x": torch.ones(3), "y": torch.tensor(1.0, dtype=torch.float64)}
    assert Expression.parse("2*x + 3*y", values).evaluate(values).dtype == torch.float32


def test_integers_meet_numbers_as_floats_and_do_not_wrap() -> None:
    n = torch.tensor([9, -1])
    result = Expression.parse("10.0**(9*n)", ["n"]).evaluate({"n": n})
    assert result.tolist() == pytest.approx([1e81, 1e-9])
    assert Expression.parse("n / 4", ["n"]).evaluate({"n": torch.tensor(2)}).item() == 0.5
    assert evaluate("9**9**x", x=9) == math.inf


def test_a_formula_without_variables_has_no_dimensions() -> None:
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
def test_values_that_do_not_fit_are_refused(values: dict[str, Tensor], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        Expression.parse("x - y", ["x", "y"]).evaluate(values)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "formula is empty"),
        (" \t\n", "formula is empty"),
        ("3*x +", "syntax error"),
        ("x x", "column 3: the formula has a syntax error"),
        ("3x", "column 1: the formula has a syntax error: invalid decimal literal"),
        ("  (x", "column 3: the formula has a syntax error: '(' was never closed"),
        ("x = 2", "syntax error"),
        ("x\n+ 1", "line break"),
        ("x + y", "column 5: unknown name 'y'; known: a, b, c, e, pi, x, ä"),
        ("  x + y", "column 7: unknown name 'y'"),
        ("é + y", "column 1: unknown name 'é'"),
        ("ä + y", "column 5: unknown name 'y'"),
        ("\ufeffx", "column 1: the formula has a syntax error"),
        ("x*y(2)", "column 3: unknown function 'y'; known: abs, acos, asin, atan, ceil, cos,"),
        ("x(2)", "unknown function 'x'"),
        ("__import__('os')", "column 1: unknown function '__import__'"),
        ("sin + 1", "'sin' is a function; write sin(...)"),
        ("sin()", "sin takes 1 argument, not 0"),
        ("1 + max(x)", "column 5: max takes 2 arguments, not 1"),
        ("sin(x, x)", "sin takes 1 argument, not 2"),
        ("9**9**9", "'9**9**9' is inf, not a finite number"),
        ("x + (1/0)*2", "column 6: '1/0' is inf, not a finite number"),
        ("x*log(-1)", "column 3: 'log(-1)' is nan, not a finite number"),
        ("1e999", "'1e999' is inf"),
        ("9" * 900, f"'{'9' * 60}...' is inf"),
        ("\0", "null bytes"),
        ("x\0", "null bytes"),
        ("\ud800", "cannot be read"),
    ],
)
def test_a_wrong_formula_is_refused_in_words(source: str, says: str) -> None:
    assert says in refusal(source, "c", "b", "a", "x", "ä")


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("x.__class__", "x.__class__"),
        ("1 + x.T", "x.T"),
        ("x[0]", "x[0]"),
        ("lambda: 1", "lambda: 1"),
        ("[x for x in x]", "[x for x in x]"),
        ("sin(i for i in x)", "(i for i in x)"),
        ("[x]", "[x]"),
        ("(x, x)", "(x, x)"),
        ("{x}", "{x}"),
        ("{x: x}", "{x: x}"),
        ("sin(x=1)", "sin(x=1)"),
        ("sin(**x)", "sin(**x)"),
        ("sin(*x)", "*x"),
        ("(x := 1)", "x := 1"),
        ("f'{x}'", "\"f'{x}'\""),
        ("'a'", "\"'a'\""),
        ("b'a'", "\"b'a'\""),
        ("x and x", "x and x"),
        ("not x", "not x"),
        ("x < x", "x < x"),
        ("x if x else x", "x if x else x"),
        ("1if x else 2", "1if x else 2"),
        ("x @ x", "x @ x"),
        ("x ^ 2", "x ^ 2"),
        ("x << 2", "x << 2"),
        ("~x", "~x"),
        ("await x", "await x"),
        ("1(2)", "1(2)"),
        ("(x + 1)(x - 1)", "(x + 1)(x - 1)"),
        ("sin(x)(x)", "sin(x)(x)"),
        ("x.sin(1)", "x.sin(1)"),
        ("True", "True"),
        ("None", "None"),
        ("...", "..."),
        ("2j", "2j"),
    ],
)
def test_what_is_not_of_the_language_is_refused(source: str, part: str) -> None:
    shown = part if part.startswith('"') else repr(part)
    says = f"{shown} is not allowed; a formula has numbers, names, parentheses, functions and +"
    assert says in refusal(source, "x")


@pytest.mark.parametrize(
    ("largest", "larger", "says"),
    [
        (
            "1" + " " * (MAX_LENGTH - 1),
            "1" + " " * MAX_LENGTH,
            f"{MAX_LENGTH + 1} characters; at most {MAX_LENGTH}",
        ),
        (
            "-x" + "+x" * (MAX_NODES // 2 - 1),
            "x" + "+x" * (MAX_NODES // 2),
            f"{MAX_NODES + 1} parts; at most {MAX_NODES}",
        ),
        (
            "-" * (MAX_DEPTH - 1) + "x",
            "-" * MAX_DEPTH + "x",
            f"nested more than {MAX_DEPTH} levels deep",
        ),
    ],
)
def test_limits_are_exact(largest: str, larger: str, says: str) -> None:
    Expression.parse(largest, ["x"]).evaluate({"x": torch.ones(2)})
    assert says in refusal(larger, "x")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("(" * 10**6 + "1" + ")" * 10**6, "2000001 characters"),
        ("(" * 450 + "1" + ")" * 450, "nested more than 50 levels deep"),
        ("sin(" * 100 + "1" + ")" * 100, "nested more than 50 levels deep"),
        ("x**(" * 60 + "x" + ")" * 60, "nested more than 50 levels deep"),
        ("-" * 900 + "1", "901 parts"),
        ("2**" * 300 + "2", "601 parts"),
    ],
    ids=lambda value: value[:12],
)
def test_a_monstrous_formula_is_refused(source: str, says: str) -> None:
    assert says in refusal(source, "x")


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_a_formula_too_deep_for_pythons_parser_is_refused(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ml.expressions.syntax.ast.parse", fail)
    assert "nested more than 50 levels deep" in refusal("x", "x")


def test_a_long_list_of_known_names_is_cut() -> None:
    msg = refusal("y", *(f"x{i:03}" for i in range(1000)))
    assert msg.endswith("x057 and 942 more")


def test_warnings_of_pythons_parser_do_not_leak(recwarn: pytest.WarningsRecorder) -> None:
    assert "not allowed" in refusal("1if x else '\\d'", "x")
    assert not recwarn.list


@pytest.mark.parametrize("name", ["x", "_", "sepal_length", "é", "e", "pi", "n" * MAX_NAME])
def test_a_usable_name_can_be_used(name: str) -> None:
    check_name(name)
    assert Expression.parse(f"2*{name}", [name]).variables == {name}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "'' cannot be used"),
        ("2x", "'2x' cannot be used"),
        ("a b", "'a b' cannot be used"),
        ("a\0", r"'a\\x00' cannot be used"),
        ("lambda", "'lambda' cannot be used"),
        ("None", "'None' cannot be used"),
        ("sin", "'sin' is a function"),
        ("max", "'max' is a function"),
        ("ﬁ", "write it 'fi'"),
        ("n" * (MAX_NAME + 1), f"over {MAX_NAME} characters"),
    ],
)
def test_an_unusable_name_is_refused(name: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        check_name(name)
    with pytest.raises(Invalid, match=says):
        Expression.parse("1", [name])


WORDS = [
    *("x", "sin", "max", "e", "1", "2.5", "9" * 400, "True", "'", "f'", "b'", "\\", "#", "\n"),
    *("(", ")", "[", "]", "{", "}", ",", ".", ":", ":=", "=", "+", "-", "*", "**", "//", "%"),
    *(" ", "lambda ", " if ", " else ", " for ", " in ", "not ", "await ", "\0", "é", "\ufeff"),
]
SOURCES = st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=40).map("".join))


@EXAMPLES
@given(SOURCES)
def test_no_text_does_worse_than_be_refused(source: str) -> None:
    x = torch.ones(2)
    try:
        result = Expression.parse(source, ["x"]).evaluate({"x": x})
    except Invalid:
        return
    assert result.shape in {(), (2,)}


# In thousandths: numbers too small to divide by would be inf to Python, and refused by us.
THOUSANDTHS = st.integers(-(10**6), 10**6).map(lambda n: n / 1000)
ARITHMETIC = st.recursive(
    THOUSANDTHS.map(str) | st.sampled_from("xy"),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from("+-*/"), parts).map(lambda p: f"({' '.join(p)})"),
        parts.map(lambda part: f"(-{part})"),
    ),
    max_leaves=12,
)


@EXAMPLES
@given(ARITHMETIC, THOUSANDTHS, THOUSANDTHS)
def test_arithmetic_agrees_with_python(source: str, x: float, y: float) -> None:
    expected: float | None
    try:
        expected = eval(source, {"x": x, "y": y})
    except ZeroDivisionError:
        expected = None
    if expected is not None and math.isfinite(expected):
        assert evaluate(source, x=x, y=y) == pytest.approx(expected, rel=1e-12)
