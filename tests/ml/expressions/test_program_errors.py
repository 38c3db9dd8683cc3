"""Invalid tensor expressions and variables are refused with a plain message."""

from typing import Any

import pytest

from ml.errors import Invalid
from ml.expressions import run
from tests.ml.expressions.conftest import TENSORS


def refusal(expression: str, gradients: bool = False, **variables: Any) -> str:
    with pytest.raises(Invalid) as caught:
        run([expression], variables, gradients)
    return caught.value.msg


def test_gradients_require_a_scalar() -> None:
    says = "this one is (2); reduce it by sum(...) or mean(...)"
    assert says in refusal("x * 2", True, x=[1, 2])


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (
            "[[1,2],[3,4]] @ [1,2,3]",
            "column 1: in '[[1,2],[3,4]] @ [1,2,3]': cannot multiply (2, 2) @ (3): the inner "
            "sizes must match, and 2 is not 3",
        ),
        (
            "1 + (f + [1,2,3,4])",
            "column 6: in 'f + [1,2,3,4]': shapes (2, 3) and (4) do not fit: aligned from the "
            "right, 3 and 4 must be equal or one of them 1",
        ),
        ("f @ f", "3 is not 2; transpose the second with .T"),
        ("3 @ m", "a number has no rows and columns; use *"),
        ("m @ f", "one dtype; int64 is not float32: use .float()"),
        ("m @ [0.5, 1]", "one dtype; int64 is not float32: use .float()"),
        ("dot(m, m)", "two tensors of one dimension, not (2, 2) and (2, 2)"),
        ("dot([1], [1, 2])", "of one length; 1 is not 2"),
        ("x.view(5, 2)", "a tensor of 12 elements cannot be viewed as (5, 2), which has 10"),
        ("x.reshape(-1, 5)", "cannot be reshaped as (-1, 5): 5 does not divide 12"),
        ("x.view(-1, -1)", "one size may be -1"),
        ("m.T.view(4)", "use reshape, which copies"),
        ("x[12]", "index 12 is out of range: dimension 0 of (12) has the size 12"),
        ("m[:, -3]", "index -3 is out of range: dimension 1 of (2, 2)"),
        ("m[0, 0, 0]", "has 2 dimensions and cannot be indexed by 3"),
        ("x[[0, 99]]", "index 99 is out of range"),
        ("x[1.5]", "an index must be a whole number"),
        ("x[True]", "True and False cannot be an index"),
        ("x[::-1]", "must be 1 or more, not -1; use flip(x, 0)"),
        ("f[m > 1]", "a mask (2, 2) does not fit (2, 3)"),
        ("f.sum(dim=2)", "there is no dimension 2: the tensor has 2 dimensions"),
        ("f.sum(dim=(0, 0))", "a dimension is named twice in (0, 0)"),
        ("m.mean()", "it needs floats, not int64: use .float()"),
        ("f[0, 0].std()", "at least 2 numbers"),
        ("max(zeros(0))", "is empty and has none"),
        ("cat([f, m])", "(2, 3) and (2, 2) cannot be joined along dimension 0"),
        ("stack([f, m])", "cannot be stacked"),
        ("cat([f, x])", "(2, 3) and (12) cannot be joined: they must have equally many dimensions"),
        ("cat([1, 2])", "numbers cannot be joined by cat; use stack"),
        ("cat([])", "there is nothing to join"),
        ("stack([])", "there is nothing to stack"),
        ("cat(f)", "must be a list of tensors"),
        ("where(m, f, 0)", "the condition must be a boolean tensor, as x > 0"),
        ("f.unsqueeze(4)", "the tensor has 2 dimensions, so that dim goes from -3 to 2"),
        ("f.std(2)", "there is no dimension 2"),
        ("f.flip(5)", "there is no dimension 5"),
        ("f.permute(0, 0)", "a dimension is named twice in (0, 0)"),
        ("f.permute(1)", "it needs the order of all 2 dimensions"),
        ("std(m)", "it needs floats, not int64: use .float()"),
        ("norm(m)", "it needs floats, not int64: use .float()"),
        ("zeros(0).argmax()", "a tensor (0) is empty and has none"),
        ("zeros(0, 2).max(0)", "a tensor (0, 2) is empty and has none"),
        ("stack([m, m]) @ stack([f, f])", "one dtype; int64 is not float32"),
        ("[f, f]", "use stack([...]) for tensors"),
        ("[[1, 2], [3]]", "lists of different lengths, 2 and 1"),
        ("rand(2, 2, 2).T", "permute"),
        ("x // 0", "whole numbers cannot be divided by 0"),
        ("m ** -1", "whole numbers have no negative powers"),
        ("-(m > 1)", "booleans have no negative; use ~"),
        ("(m > 1) - (m > 2)", "booleans cannot be subtracted; use ~"),
        ("floor(m > 1)", "it does not work on booleans; use .float()"),
        ("f & 1", "it combines booleans, as in (x > 0) & (x < 1)"),
        ("randint(3, 3, 1)", "the first number must be smaller than the second"),
        ("softmax(m, 0)", "it needs floats, not int64"),
        ("clamp(f)", "PyTorch cannot compute it: torch.clamp: At least one of"),
        ("f.item()", "only a tensor of one element is a number"),
        ("arange(5, 0)", "a step of 1 does not lead from 5 to 0"),
        ("zeros(2.5)", "the argument 'size' of zeros: must be a whole number"),
        ("zeros()", "zeros lacks the argument 'size': zeros(size, dtype)"),
        ("exp(f, f)", "exp takes 1 argument, not 2: exp(input)"),
        ("sum(f, axis=0)", "sum has no argument 'axis': sum(input, dim, keepdim)"),
        ("y + 1", "column 1: unknown name 'y'; known: e, f, m, pi, x"),
        ("softmin(f)", "unknown function 'softmin'; did you mean softmax?"),
        ("f.add_(1)", "unknown method 'add_'; known: abs"),
        ("x.sum", "'sum' is a method; write .sum(...)"),
        ("sum", "'sum' is a function; write sum(...)"),
        ("0 < x < 3", "compare two at a time: (0 < x) & (x < 1)"),
        ("x > 1 and x < 3", "combine booleans with & | ~"),
        ("x if x else 1", "choose by where(condition, a, b)"),
        ("float32", "float32 is a dtype, not a tensor"),
        ("x = 3", "'x' is a variable; assign to another name"),
        ("torch = 3", "'torch' means PyTorch"),
        ("x += 1", "'x += 1' is not allowed; write an expression, as x**2, or give it a name"),
        ("1; 2", "the expression must be a single one, not 2"),
        ("", "the expression is empty; write for example x**2 + 1"),
        ("3x", "column 1: the expression has a syntax error: write 3*x"),
        ("[1 2]", "forgot a comma"),
        ("2(x + 1)", "'2' is not a function and cannot be called; to multiply, write 2*(x + 1)"),
        ("x(2)", "unknown function 'x'; to multiply, write x*(…)"),
        ("y(2)", "unknown function 'y'; known: abs"),
    ],
)
def test_mistakes_are_explained(expression: str, says: str) -> None:
    assert says in refusal(expression, **TENSORS)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "torch.load('x')",
        "torch.nn.Linear(1, 1)",
        "torch.os",
        "x.__class__",
        "x.data",
        "x.grad_fn",
        "().__class__.__bases__[0]",
        "x.sum.__self__",
        "x.tolist()",
        "x.backward()",
        "open('x')",
        "eval('1')",
        "'a' * 9",
        "f'{x}'",
        "b'a'",
        "lambda: 1",
        "[i for i in x]",
        "{x}",
        "{'a': x}",
        "(y := 1)",
        "*x",
        "sum(*x)",
        "sum(**x)",
        "x[0](1)",
        "2j",
        "await x",
        "yield x",
        "x << 9",
        "import os",
        "from os import path",
        "del x",
        "x[0] = 1",
        "x.y = 1",
        "a = b = 1",
        "a, b = x",
        "a: int = 1",
        "global x",
        "def y(): pass",
        "class Y: pass",
        "while True: pass",
        "assert x",
        "raise x",
    ],
)
def test_python_outside_the_language_is_refused(expression: str) -> None:
    assert refusal(expression, **TENSORS)


@pytest.mark.parametrize(
    ("value", "loc", "says"),
    [
        ("a", (), "must be a number, a boolean or lists of them, not the string"),
        (None, (), "not null"),
        ({}, (), "not an object"),
        ([1, [2]], (1,), "has a list where others have a number"),
        ([[1], 2], (1,), "has a number where others have a list"),
        ([[1, 2], [3]], (1,), "has lists of different lengths, 2 and 1"),
        ([[1.0, float("nan")]], (0, 1), "it is nan, not a finite number"),
        (2**63, (), "does not fit into 64 bits"),
        ([[[[[[[[[1]]]]]]]]], (), "lists more than 8 deep"),
    ],
)
def test_invalid_variables_are_refused(value: Any, loc: tuple[int, ...], says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        run(["1"], {"a": value})
    assert caught.value.loc == ("variables", "a", *loc)


def test_errors_name_the_expression() -> None:
    for expressions in (["1", "1", "y"], ["1", "1", "3x"]):
        with pytest.raises(Invalid) as caught:
            run(expressions, {})
        assert caught.value.loc == ("expressions", 2)
