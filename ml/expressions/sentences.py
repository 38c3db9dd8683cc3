"""Plain messages in place of PyTorch's."""

import re
from collections.abc import Sequence
from contextlib import suppress

from torch import Tensor

from ml.expressions.shapes import counted, shown
from ml.expressions.values import dtype_name

SENTENCES = {
    r"ZeroDivisionError": "whole numbers cannot be divided by 0; use .float()",
    r"Integers to negative integer powers are not allowed": (
        "whole numbers have no negative powers; use .float()"
    ),
    r"\"bitwise_\w+\" not implemented for": "it combines booleans, as in (x > 0) & (x < 1)",
    r"not implemented for 'Bool'": "it does not work on booleans; use .float()",
    r"[Ss]ubtraction, .* bool": "booleans cannot be subtracted; use ~ or .float()",
    r"Negation, .* bool": "booleans have no negative; use ~ or .float()",
    r"not implemented for '(Long|Int)'|floating point (or|and) complex": (
        "it needs floats, not {dtype}: use .float()"
    ),
    r"same dtype|expected scalar type": (
        "it takes two tensors of one dtype; {dtypes}: use .float()"
    ),
    r"expects 'from' to be less than 'to'": "the first number must be smaller than the second",
    r"out of range \(expected to be in range of \[(-?\d+), (-?\d+)\], but got (-?\d+)": (
        "there is no dimension {2}: the tensor has {dimensions}, so that dim goes from {0} to {1}"
    ),
    r"appears multiple times|duplicate dims": "a dimension is named twice in {numbers}",
    r"Expected reduction dim": "a tensor {shape} is empty and has none",
    r"1D tensors expected": "dot takes two tensors of one dimension, not {shapes}; use @",
    r"inconsistent tensor size, expected tensor \[(\d+)\] and src \[(\d+)\]": (
        "dot takes two tensors of one length; {0} is not {1}"
    ),
    r"non-empty list": "there is nothing to join; give at least one tensor",
    r"non-empty TensorList": "there is nothing to stack; give at least one tensor",
    r"zero-dimensional tensor .* concatenated": "numbers cannot be joined by cat; use stack",
    r"must match except in dimension (\d+)\. Expected size (\d+) but got size (\d+)": (
        "{different_shapes} cannot be joined along dimension {0}: the other sizes must be equal, "
        "and {1} is not {2}"
    ),
    r"must have same number of dimensions: got (\d+) and (\d+)": (
        "{different_shapes} cannot be joined: they must have equally many dimensions, and {0} is "
        "not {1}"
    ),
    r"to be equal size, but got \[(.*)\] at entry 0 and \[(.*)\] at entry": (
        "({0}) and ({1}) cannot be stacked: they must be equal"
    ),
    r"view size is not compatible": (
        "this tensor {shape} cannot be viewed as {numbers}, since its numbers do not lie in "
        "memory in that order; use reshape, which copies"
    ),
    r"t\(\) expects .* self is (\d+)D": (
        "a tensor of {0} dimensions is turned by permute(...), not by T"
    ),
    r"permute.*input\.dim\(\) = (\d+)": "it needs the order of all {0} dimensions",
    r"cannot be converted to Scalar": ("only a tensor of one element is a number, not {shape}"),
}
"""Messages by pattern of PyTorch's message; `{0}` is its group, `{shape}` comes from `_names`."""


REFUSALS = (RuntimeError, TypeError, ValueError, IndexError, OverflowError)
"""Exceptions that PyTorch raises if an operation does not suit its arguments."""


def in_words(error: Exception, arguments: Sequence[object] = ()) -> str:
    """Return a plain message for PyTorch's `error` in an operation on `arguments`."""
    said = str(error).partition("\n")[0]
    for theirs, ours in SENTENCES.items():
        if found := re.search(theirs, said):
            # The arguments may lack a fact that the message needs.
            with suppress(KeyError):
                return ours.format(*found.groups(), **_names(arguments))
    return f"PyTorch cannot compute it: {said}"


def _names(arguments: Sequence[object]) -> dict[str, str]:
    """Return facts about an operation's arguments, for use in messages."""
    given = arguments[0] if arguments and isinstance(arguments[0], list) else arguments
    tensors = [argument for argument in given if isinstance(argument, Tensor)]
    if not tensors:
        return {}
    shapes = [shown(tensor.shape) for tensor in tensors]
    return {
        "shape": shapes[0],
        "shapes": " and ".join(shapes),
        "different_shapes": " and ".join(dict.fromkeys(shapes)),
        "dimensions": counted(tensors[0].dim(), "dimension"),
        "dtype": dtype_name(tensors[0].dtype),
        "dtypes": " is not ".join(dtype_name(tensor.dtype) for tensor in tensors),
        "numbers": "".join(shown(numbers) for numbers in arguments if isinstance(numbers, tuple)),
    }
