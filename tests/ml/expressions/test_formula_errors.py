"""Invalid formulas are refused with a plain message."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.errors import Invalid
from ml.expressions.formula import FORMULA, Expression, check_name
from ml.expressions.syntax import MAX_NAME

MAX_LENGTH, MAX_DEPTH, MAX_NODES = FORMULA.max_length, FORMULA.max_depth, FORMULA.max_nodes


def refusal(source: str, *variables: str) -> str:
    with pytest.raises(Invalid) as caught:
        Expression.parse(source, variables)
    return caught.value.msg


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "formula is empty"),
        (" \t\n", "formula is empty"),
        ("3*x +", "syntax error"),
        ("x x", "column 1: the formula has a syntax error: write x*x"),
        ("3x", "column 1: the formula has a syntax error: write 3*x"),
        ("  1 + 3x + 2", "column 7: the formula has a syntax error: write 3*x"),
        ("2 x", "write 2*x"),
        ("2x**2 + 3b", "write 2*x"),
        ("1e5x", "write 1e5*x"),
        (".5pi", "write .5*pi"),
        ("(x + 1) b", "write (…)*b"),
        ("sin x", "write sin(x)"),
        ("x ≤ 1", "column 3: the formula has a syntax error: write <= for ≤"),
        ("x²", "write **2 for ²"),
        ("2·x", "write * for ·"),
        ("3x +* 2", "syntax error: invalid decimal literal"),
        ("x 3 if", "syntax error: invalid syntax"),
        ("ab", "unknown name 'ab'; to multiply, write a*b"),
        ("sinn(x)", "unknown function 'sinn'; did you mean sin?"),
        ("x(2)", "unknown function 'x'; to multiply, write x*(…)"),
        ("2(x + 1)", "to multiply, write 2*(x + 1)"),
        ("(x + 1)(x - 1)", "to multiply, write (x + 1)*(x - 1)"),
        ("x and a", "combine booleans with & | ~"),
        ("not x", "combine booleans with & | ~"),
        ("x if x else a", "choose by where(condition, a, b)"),
        ("x ^ 2", "for a power, write x**2"),
        ("x > 0 & a > 0", "column 5: '0' is a number, and & combines comparisons"),
        ("~x", "'x' is a number, and ~ combines comparisons"),
        ("(x > 0) + 1", "column 2: 'x > 0' is true or false, not a number; write where(x > 0, 1, "),
        ("-(x > 0)", "'x > 0' is true or false"),
        ("sin(x > 0)", "column 5: 'x > 0' is true or false"),
        ("(x > 0) < 1", "'x > 0' is true or false"),
        ("where(x, 1, 2)", "'x' is a number, not a comparison; write for example x > 0"),
        ("where(x > 0, 1, x > 1)", "'x > 1' is true or false"),
        ("where(x > 0, x > 1, 1)", "'1' is a number, not a comparison"),
        ("where(x > 0, 1)", "where takes 3 arguments, not 2"),
        ("x < 1/0", "'1/0' is inf, not a finite number"),
        ("where", "'where' is a function; write where(...)"),
        ("  (x", "column 3: the formula has a syntax error: '(' was never closed"),
        ("x = 2", "syntax error"),
        ("x\n+ 1", "line break"),
        ("x + y", "column 5: unknown name 'y'; known: a, b, c, e, pi, x, ä"),
        ("  x + y", "column 7: unknown name 'y'"),
        ("é + y", "column 1: unknown name 'é'"),
        ("ä + y", "column 5: unknown name 'y'"),
        ("\ufeffx", "column 1: the formula has a syntax error"),
        ("x*y(2)", "column 3: unknown function 'y'; known: abs, acos, asin, atan, ceil, cos,"),
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
def test_invalid_formulas_are_refused(source: str, says: str) -> None:
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
        ("x in x", "x in x"),
        ("x is x", "x is x"),
        ("x @ x", "x @ x"),
        ("x << 2", "x << 2"),
        ("await x", "await x"),
        ("sin(x)(x)", "sin(x)(x)"),
        ("x.sin(1)", "x.sin(1)"),
        ("True", "True"),
        ("None", "None"),
        ("...", "..."),
        ("2j", "2j"),
    ],
)
def test_python_outside_the_formula_language_is_refused(source: str, part: str) -> None:
    shown = part if part.startswith('"') else repr(part)
    says = (
        f"{shown} is not allowed; a formula has numbers, names, parentheses, functions, "
        "comparisons and +"
    )
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
def test_huge_formulas_are_refused(source: str, says: str) -> None:
    assert says in refusal(source, "x")


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_formula_too_deep_for_the_parser_is_refused(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ml.expressions.syntax.ast.parse", fail)
    assert "nested more than 50 levels deep" in refusal("x", "x")


def test_long_list_of_known_names_is_truncated() -> None:
    msg = refusal("y", *(f"x{i:03}" for i in range(1000)))
    assert msg.endswith("x057 and 942 more")


def test_parser_warnings_do_not_leak(recwarn: pytest.WarningsRecorder) -> None:
    assert "not allowed" in refusal("1if x else '\\d'", "x")
    assert not recwarn.list


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
def test_invalid_names_are_refused(name: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        check_name(name)
    with pytest.raises(Invalid, match=says):
        Expression.parse("1", [name])


WORDS = [
    *("x", "sin", "max", "e", "1", "2.5", "9" * 400, "True", "'", "f'", "b'", "\\", "#", "\n"),
    *("(", ")", "[", "]", "{", "}", ",", ".", ":", ":=", "=", "+", "-", "*", "**", "//", "%"),
    *("<", ">=", "==", "&", "|", "~", "where", "²", "×"),  # noqa: RUF001
    *(" ", "lambda ", " if ", " else ", " for ", " in ", "not ", "await ", "\0", "é", "\ufeff"),
]
SOURCES = st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=40).map("".join))


@settings(max_examples=200, deadline=None, database=None)
@given(SOURCES)
def test_any_text_gives_a_value_or_an_error(source: str) -> None:
    x = torch.ones(2)
    try:
        result = Expression.parse(source, ["x"]).evaluate({"x": x})
    except Invalid:
        return
    assert result.shape in {(), (2,)}
