"""Arithmetic with Python's numbers, as in `2*pi`, limited to values that a tensor can hold."""

import math
import operator
from collections.abc import Callable
from typing import Any

from ml.errors import Invalid

Number = int | float

MIN_INT, MAX_INT = -(2**63), 2**63 - 1


def checked(number: Any) -> Number:
    """Return `number` if a tensor can hold it.

    Raises:
        Invalid: the number is complex, not finite, or an integer of more than 64 bits.
    """
    match number:
        case complex():
            raise Invalid("it is not a real number")
        case int() if not MIN_INT <= number <= MAX_INT:
            raise Invalid("it does not fit into 64 bits; write it as a float, as 1e30")
        case float() if not math.isfinite(number):
            raise Invalid(f"it is {number}, not a finite number")
    assert isinstance(number, int | float)
    return number


def compute(operation: Callable[..., Any], *numbers: Number) -> Number:
    """Apply one of Python's operators to numbers.

    Raises:
        Invalid: the result is undefined, or a tensor cannot hold it.
    """
    if operation is operator.pow and _has_no_end(*numbers):
        raise Invalid("it does not fit into 64 bits; write a float, as 2.0**100")
    try:
        return checked(operation(*numbers))
    except ZeroDivisionError:
        raise Invalid("it divides by 0") from None
    except OverflowError:
        raise Invalid("it is larger than the largest float") from None


def _has_no_end(base: Number, exponent: Number) -> bool:
    """Return whether a power is an integer too long to be worth computing."""
    whole = isinstance(base, int) and isinstance(exponent, int)
    return whole and abs(base) > 1 and exponent > MAX_INT.bit_length()
