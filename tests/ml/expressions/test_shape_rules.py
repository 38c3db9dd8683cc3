"""The shape of a result is known before the function runs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ml.expressions.operations import FUNCTIONS

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
def test_shape_rules_match_the_results(name: str) -> None:
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
