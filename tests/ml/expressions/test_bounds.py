"""Any input gives a value or a plain error message, within bounded time and memory."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml.errors import Invalid
from ml.expressions import MAX_EXPRESSIONS, run, shape_rules
from ml.expressions.budget import MAX_WORK
from ml.expressions.operations import BINARY, COMPARISONS, FUNCTIONS, METHODS, PROPERTIES, UNARY
from ml.expressions.shapes import MAX_DIMENSIONS, MAX_ELEMENTS, volume
from ml.expressions.tensor_interpreter import EXPRESSION
from ml.expressions.values import MAX_WRITTEN

EXAMPLES = settings(max_examples=300, deadline=None, database=None)
VARIABLES: dict[str, Any] = {
    "x": 2.5,
    "v": [1.0, -2.0, 0.0],
    "m": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    "i": [[0, 1, 2], [3, -1, 0]],
    "b": [True, False, True],
    "z": [[]],
}


def refusal(*expressions: str, gradients: bool = False, **variables: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        run(expressions, variables, gradients)
    return caught.value


def depth(value: Any) -> int:
    return 1 + depth(value[0]) if isinstance(value, list) and value else isinstance(value, list)


def check(expressions: list[str], gradients: bool) -> None:
    try:
        results = run(expressions, VARIABLES, gradients)
    except Invalid:
        return
    for result in results:
        json.dumps(result.model_dump(), allow_nan=False)
        assert math.prod(result.shape) <= MAX_ELEMENTS
        if 0 not in result.shape:
            assert depth(result.value) == len(result.shape)


ATOMS = st.sampled_from(
    [
        *(*VARIABLES, "a", "c", "0", "1", "2", "3", "-1", "2.5", "1e30", "1e-45", "2**62", "pi"),
        *("True", "None", "float64", "int64", "bool", "[1, 2]", "[[1, 2], [3, 4]]", "[]", "()"),
    ]
)
KEYS = st.sampled_from(["0", "-1", "5", ":", "1:", "::2", "::-1", "...", "None", "b", "i", "i > 0"])
NAMES = st.sampled_from(sorted({*FUNCTIONS, *METHODS}))
SYMBOLS = st.sampled_from([op.symbol for op in (*BINARY.values(), *COMPARISONS.values())])
SIGNS = st.sampled_from([op.symbol for op in UNARY.values()])
KEYWORDS = st.sampled_from(["dim", "keepdim", "dtype", "size", "min", "other"])


FORMS = st.sampled_from(
    [
        "{0}.view(-1)",
        "{0}.reshape(3, -1)",
        "{0}.sum(dim=0)",
        "{0}.mean()",
        "{0}[0]",
        "{0}[..., -1]",
        "{0}[{1} > 0]",
        "{0}[i]",
        "{0} @ {1}.T",
        "dot({0}, {1})",
        "cat([{0}, {1}])",
        "cat([m, m], {0})",
        "stack([{0}, {1}], -1)",
        "where({0} > 1, {1}, 0)",
        "zeros({0}.shape)",
        "rand(2, {0}.ndim)",
        "arange({0}, 5, {1})",
        "linspace({0}, {1}, 3)",
        "eye({0}, 3)",
        "full((2, 2), {0})",
        "randint(0, {0}, (2, 3))",
        "{0}.unsqueeze({1})",
        "{0}.transpose(0, {1})",
        "{0}.permute(1, 0)",
        "softmax({0}, -1)",
        "log_softmax({0}, {1})",
        "cumsum({0}, -1)",
        "flip({0}, {1})",
        "{0}.item()",
        "std({0}, 0)",
        "{0}.var(dim=-1, keepdim=True)",
        "max({0}, {1})",
        "{0}.to(float64)",
        "{0}.float()",
        "{0}.argmax(-1)",
        "prod({0}, {1})",
        "norm({0})",
        "clamp({0}, 0, {1})",
        "{0}.numel()",
        "sum({0} * {1})",
        "{0}.squeeze({1})",
        "all({0}, dim=(0, {1}))",
        "({0} - {1})**2",
        "tensor({0})",
    ]
)


def larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(parts, max_size=3).map(", ".join)
    keyword = st.tuples(KEYWORDS, parts).map("=".join)
    return st.one_of(
        st.tuples(FORMS, parts, parts).map(lambda p: p[0].format(*p[1:])),
        st.tuples(parts, SYMBOLS, parts).map(lambda p: f"({' '.join(p)})"),
        st.tuples(SIGNS, parts).map("".join),
        st.tuples(NAMES, arguments).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(NAMES, parts, keyword).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        st.tuples(parts, NAMES, arguments).map(lambda p: f"{p[0]}.{p[1]}({p[2]})"),
        st.tuples(parts, st.sampled_from(["T", *PROPERTIES])).map(".".join),
        st.tuples(parts, st.lists(KEYS | parts, min_size=1, max_size=3)).map(
            lambda p: f"{p[0]}[{', '.join(p[1])}]"
        ),
        st.lists(parts, max_size=3).map(lambda p: f"[{', '.join(p)}]"),
    )


PROGRAMS = st.lists(
    st.tuples(st.sampled_from(["", "", "a = ", "c = "]), st.recursive(ATOMS, larger, max_leaves=8)),
    min_size=1,
    max_size=4,
).map(lambda lines: ["".join(line) for line in lines])


@EXAMPLES
@given(PROGRAMS, st.booleans())
def test_any_program_gives_a_value_or_an_error(expressions: list[str], gradients: bool) -> None:
    check(expressions, gradients)


WORDS = [
    *("x", "m", "sum", "view", "torch", "1", "2.5", "9" * 400, "True", "'", "f'", "b'", "\\", "#"),
    *("(", ")", "[", "]", "{", "}", ",", ".", ":", ":=", "=", "+", "@", "*", "**", "//", "%", "\n"),
    *(
        " ",
        ";",
        "lambda ",
        " if ",
        " for ",
        " in ",
        "not ",
        "await ",
        "import ",
        "\0",
        "é",
        "\ufeff",
    ),
    *(".__class__", "__import__", "print", "del ", "global ", "yield ", "...", "-> ", "@x\n"),
]


@EXAMPLES
@example("\ud800", False)
@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=30).map("".join), st.booleans())
def test_any_text_gives_a_value_or_an_error(expression: str, gradients: bool) -> None:
    check([expression], gradients)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values),
    max_leaves=10,
)


@EXAMPLES
@given(st.dictionaries(st.text(max_size=3) | st.just("x"), JSON, max_size=2), st.booleans())
def test_any_variable_gives_a_value_or_an_error(values: dict[str, Any], gradients: bool) -> None:
    with suppress(Invalid):
        run(["x"], values, gradients)


@pytest.mark.parametrize(
    "expression",
    [
        "zeros(10**6 + 1)",
        "zeros(10**9, 0)",
        "zeros(0).view(10**9, 0)",
        "eye(10**5)",
        "full((10**4, 10**4), 1)",
        "arange(0, 1, 1e-9)",
        "arange(1e308, -1e308, -1e-308)",
        "linspace(0, 1, 10**12)",
        "ones(100000, 1) + ones(1, 100000)",
        "where(ones(100000, 1) > 0, 1, ones(1, 100000))",
        "ones(100000, 1) @ ones(1, 100000)",
        "ones(1000, 1, 1000) @ ones(1000, 1, 1000, 1)",
        "zeros(3)[zeros(3000, 3000).long()]",
        "zeros(1000, 1000)[zeros(1001).long()]",
        "cat([zeros(10**6), zeros(1)])",
        "stack([zeros(10**6), zeros(10**6)])",
        "zeros(1, 1, 1, 1, 1, 1, 1, 1)[None]",
        "zeros(1, 1, 1, 1, 1, 1, 1, 1, 1)",
    ],
)
def test_oversized_tensors_are_refused(expression: str) -> None:
    msg = refusal(expression).msg
    assert f"{MAX_ELEMENTS:,} are allowed" in msg or f"{MAX_DIMENSIONS} are allowed" in msg


UNFORESEEN = sorted(
    name
    for name in METHODS
    if FUNCTIONS[name].shape in {shape_rules.no_larger, shape_rules.deviation}
)
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
DIMS = st.integers(-3, 2) | st.lists(st.integers(-3, 2), max_size=3).map(tuple)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")  # of one number, as in PyTorch's warning
@EXAMPLES
@given(st.sampled_from(UNFORESEEN), SHAPES, st.just("") | DIMS)
def test_functions_without_shape_rules_do_not_enlarge_tensors(
    name: str, shape: tuple[int, ...], dim: object
) -> None:
    with suppress(Invalid):
        (result,) = run([f"zeros({shape}).{name}({dim})"], {})
        assert volume(result.shape) <= volume(shape)


@pytest.mark.parametrize(
    "number", ["9**9**9**9", "2**63", "9223372036854775807 + 1", "10**18 * 10", "9" * 400, "-2**64"]
)
def test_integers_must_fit_into_64_bits(number: str) -> None:
    assert "does not fit into 64 bits" in refusal(number).msg


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("1/0", "divides by 0"),
        ("5 % 0", "divides by 0"),
        ("0**-1", "divides by 0"),
        ("2.0**9999", "larger than the largest float"),
        ("1e308 * 10", "it is inf"),
        ("1e999", "it is inf"),
        ("(-8)**0.5", "not a real number"),
    ],
)
def test_literals_must_be_finite(number: str, says: str) -> None:
    assert says in refusal(number).msg


@pytest.mark.parametrize(
    "expressions",
    [
        ["a = rand(1000, 1000)"] + ["(a @ a @ a).sum()"] * 10,
        [f"x{i} = randn(1000, 1000) ** 1.5" for i in range(20)],
        ["x = ones(10**6)", *("x = cat([x[:500000], x[:500000]])" for _ in range(19))],
        ["n = randint(1, 9, (1000, 1000))"] + ["n = n ** n"] * 19,
        ["t = " + "+".join(["rand(100, 100)"] * 60)] * 20,
    ],
    ids=lambda expressions: expressions[1],
)
def test_all_expressions_share_one_budget(expressions: list[str]) -> None:
    assert "too much to compute" in refusal(*expressions).msg


def test_every_backward_pass_counts_toward_the_budget() -> None:
    outer = "y = w.view(1000, 1) * w.view(1, 1000)"
    w = [1.0] * 1000
    run([outer, "sum(y)", "sum(y)"], {"w": w}, gradients=True)
    assert "too much" in refusal(outer, *["sum(y)"] * 19, gradients=True, w=w).msg
    # The backward pass fills a tensor of the full size for each index.
    many = " + ".join(["y[0, 0]"] * 40)
    assert "too much" in refusal(outer, many, gradients=True, w=w).msg


def test_chains_of_small_operations_count_toward_the_budget() -> None:
    chain = ["y = x", *("y = y" + " + x" * 140 for _ in range(9))]
    run([*chain, "y"], {"x": 1.0}, gradients=True)
    assert "too much" in refusal(*chain, *["y + 1"] * 10, gradients=True, x=1.0).msg


def test_budget_allows_typical_programs() -> None:
    (result,) = run(["(ones(1000, 1000) @ ones(1000, 1000)).sum()"], {})
    assert result.value == 10**9
    assert MAX_WORK < 10**8


@pytest.mark.parametrize(
    ("largest", "larger", "says"),
    [
        ("1" + " " * 999, "1" + " " * 1000, "1001 characters; at most 1000"),
        ("-x" + "+x" * 149, "x" + "+x" * 150, f"at most {EXPRESSION.max_nodes}"),
        ("-" * 49 + "x", "-" * 50 + "x", "nested more than 50 levels deep"),
        ("x" + ".T" * 49, "x" + ".T" * 50, "nested more than 50 levels deep"),
        (
            "x[0" + "+x[0" * 24 + "]" * 25,
            "x[0" + "+x[0" * 25 + "]" * 26,
            "more than 50 levels deep",
        ),
        ("sum(zeros(100, 100))", "zeros(101, 100)", f"at most {MAX_WRITTEN:,} are shown"),
    ],
)
def test_limits_are_exact(largest: str, larger: str, says: str) -> None:
    run([largest], {"x": [0] if "[" in largest else 0})
    assert says in refusal(larger, x=[0] if "[" in largest else 0).msg


def test_numbers_of_expressions_and_variables_are_limited() -> None:
    assert len(run(["1"] * MAX_EXPRESSIONS, {})) == MAX_EXPRESSIONS
    assert refusal(*["1"] * (MAX_EXPRESSIONS + 1)).loc == ("expressions",)
    assert refusal("1", **{f"x{i}": 0 for i in range(51)}).loc == ("variables",)
    half = [0] * (MAX_WRITTEN // 2)
    assert len(run(["1"], {"a": half, "b": half})) == 1
    assert refusal("1", a=half, b=half, c=0).loc == ("variables",)
    assert refusal("1", a=[half, half, half]).loc == ("variables", "a")
    assert refusal("1", a=[[]] * (MAX_WRITTEN + 1)).loc == ("variables", "a")


def test_lists_of_tensors_are_refused() -> None:
    assert "stack" in refusal("a = [1, 2]", "a = [a, a]").msg
