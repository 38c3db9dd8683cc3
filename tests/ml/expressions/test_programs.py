"""The tensor language: the tutorial's results, PyTorch's ways, and its mistakes put into words."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import Result, run
from ml.expressions.operations import FUNCTIONS
from ml.expressions.values import to_json

X: dict[str, Any] = {
    "x": list(range(12)),
    "m": [[1, 2], [3, 4]],
    "f": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
}


def evaluate(expression: str, **variables: Any) -> Result:
    return run([expression], variables)[0]


def refusal(expression: str, gradients: bool = False, **variables: Any) -> str:
    with pytest.raises(Invalid) as caught:
        run([expression], variables, gradients)
    return caught.value.msg


def gradients_of(expressions: list[str], zero_grad: bool = False, **variables: Any) -> list[Any]:
    return [r.gradients for r in run(expressions, variables, True, zero_grad)]


def test_the_tutorials_gradients_hold() -> None:
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
def test_a_value_and_its_dtype_are_pytorchs(expression: str, value: Any, dtype: str) -> None:
    result = evaluate(expression, **X)
    assert (result.value, result.dtype) == (value, dtype)


def test_random_numbers_are_those_of_their_seed() -> None:
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
def test_a_view_tells_whose_memory_it_is(expression: str, view_of: str) -> None:
    result = evaluate(expression, **X)
    assert (result.is_view, result.view_of) == (True, view_of)


@pytest.mark.parametrize(
    "expression", ["x", "x + 0", "m.T.reshape(4)", "f[f > 1]", "x[[0]]", "x[:2].clone()", "f.sum()"]
)
def test_what_is_copied_is_no_view(expression: str) -> None:
    result = evaluate(expression, **X)
    assert (result.is_view, result.view_of) == (False, None)


def test_a_view_of_what_has_no_name_and_of_a_name_given_later() -> None:
    literal, y, part = run(["[[1, 2]].T", "y = arange(4)", "y[1:]"], {})
    assert (literal.is_view, literal.view_of) == (True, None)
    assert (y.is_view, part.is_view, part.view_of) == (False, True, "y")


def test_what_is_not_finite_is_text() -> None:
    assert evaluate("[1.0, -1.0, 0.0] / 0").value == ["Infinity", "-Infinity", "NaN"]
    assert evaluate("log(0)").value == "-Infinity"
    assert gradients_of(["sqrt(x)"], x=0.0) == [{"x": "Infinity"}]


def test_floats_are_written_in_the_fewest_digits() -> None:
    assert evaluate("x", x=[0.1, 1 / 3]).value == [0.1, 0.33333334]


def test_whole_numbers_become_floats_only_to_get_a_gradient() -> None:
    plain, differentiated = evaluate("x**2", x=2), run(["x**2"], {"x": 2}, True)[0]
    assert (plain.dtype, plain.requires_grad, plain.gradients) == ("int64", False, None)
    assert (differentiated.dtype, differentiated.requires_grad) == ("float32", True)


def test_only_the_named_variables_get_gradients() -> None:
    (result,) = run(["sum(w * x[i])"], {"w": [1, 2], "x": [3, 4, 5], "i": [0, 2]}, ["w"])
    assert result.gradients == {"w": [3, 5]}
    with pytest.raises(Invalid) as caught:
        run(["w"], {"w": 1}, ["w", "q"])
    assert (caught.value.loc, caught.value.msg) == (("gradients", 1), "'q' is not a variable")


def test_a_step_is_differentiated_as_a_part_of_what_uses_it() -> None:
    step, loss = run(["y = x**2", "sum(y * 3)"], {"x": [5, 1]}, True)
    assert (step.value, step.gradients, step.graph) == ([25, 1], None, None)
    assert loss.gradients == {"x": [30, 6]}


def test_what_depends_on_no_variable_has_no_gradient() -> None:
    (result,) = run(["sum(x > 1)"], {"x": [1, 2]}, True)
    assert (result.requires_grad, result.gradients, result.graph) == (False, {"x": None}, None)


def test_a_gradient_is_that_of_a_number() -> None:
    says = "this one is (2); reduce it by sum(...) or mean(...)"
    assert says in refusal("x * 2", True, x=[1, 2])


def test_the_graph_is_what_autograd_recorded() -> None:
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
        ("softmin(f)", "unknown function 'softmin'; known: abs, acos"),
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
        ("3x", "column 1: the expression has a syntax error"),
    ],
)
def test_a_mistake_is_put_into_words(expression: str, says: str) -> None:
    assert says in refusal(expression, **X)


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
def test_nothing_but_arithmetic_can_be_reached(expression: str) -> None:
    assert refusal(expression, **X)


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
def test_a_wrong_variable_is_refused(value: Any, loc: tuple[int, ...], says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        run(["1"], {"a": value})
    assert caught.value.loc == ("variables", "a", *loc)


def test_errors_name_the_expression() -> None:
    for expressions in (["1", "1", "y"], ["1", "1", "3x"]):
        with pytest.raises(Invalid) as caught:
            run(expressions, {})
        assert caught.value.loc == ("expressions", 2)


def test_a_variable_may_be_called_as_a_function_or_a_constant() -> None:
    assert evaluate("(x - mean) / std + mean(x)", x=[1.0, 3.0], mean=2, std=0.5).value == [0, 4]
    assert evaluate("e", e=1).value == 1
    assert evaluate("torch.e", e=1).value == pytest.approx(2.7182817)


SQUARE, WIDE = torch.rand(2, 2) + 0.5, torch.rand(2, 3, 1) + 0.5
ARGUMENTS: dict[str, list[Any]] = {
    "dot": [SQUARE[0], SQUARE[1]],
    "matmul": [torch.rand(5, 1, 2, 3), WIDE],
    "zeros": [(2, 3), None],
    "ones": [(2, 3), torch.int64],
    "rand": [(2,), None],
    "randn": [(), None],
    "randint": [0, 5, (2, 3)],
    "full": [(2, 3), 1.5, None],
    "eye": [2, None],
    "arange": [0, 1, 0.3, None],
    "linspace": [0, 1, 3, None],
    "tensor": [WIDE, torch.int64],
    "to": [WIDE, torch.int64],
    "where": [SQUARE > 1, SQUARE, 0.0],
    "clamp": [WIDE, 0, None],
    "cat": [[SQUARE, SQUARE], -1],
    "stack": [[SQUARE, SQUARE], -1],
    "view": [WIDE, (3, -1)],
    "reshape": [WIDE, (3, -1)],
    "t": [SQUARE[:1]],
    "transpose": [WIDE, 0, -1],
    "permute": [WIDE, (2, 0, 1)],
    "squeeze": [WIDE, -1],
    "unsqueeze": [WIDE, -2],
    "flip": [WIDE, (0, 1)],
    "max": [WIDE, 1, True],
    "min": [WIDE, None, True],
    **{name: [WIDE, 1, True] for name in ("sum", "mean", "std", "var", "all", "any")},
    **{name: [WIDE, 1, False] for name in ("argmax", "argmin")},
    **{name: [WIDE, 1] for name in ("prod", "cumsum", "softmax", "log_softmax")},
    **{name: [WIDE[0], SQUARE[0]] for name in ("minimum", "maximum")},
    **{name: [WIDE[0], SQUARE[0]] for name in ("add", "sub", "mul", "div", "pow")},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_shape_that_is_told_before_it_runs(name: str) -> None:
    operation = FUNCTIONS[name]
    arguments = ARGUMENTS.get(name, [SQUARE[:1, :1] if name == "item" else WIDE])
    random = {"generator": torch.Generator()} if operation.is_random else {}
    result = operation.run(*arguments, **random)
    assert len(arguments) == len(operation.parameters)
    shape = operation.shape(*arguments)
    if isinstance(result, Tensor):
        if shape is None:
            assert result.numel() <= sum(map(elements, arguments))
        else:
            assert tuple(result.shape) == shape


def elements(argument: Any) -> int:
    if isinstance(argument, list):
        return sum(map(elements, argument))
    return argument.numel() if isinstance(argument, Tensor) else 0
