"""Plain numbers of an expression, as Python has them: `2*pi`. They stay within a tensor's."""

import math
import operator
from collections.abc import Callable
from typing import Any

from ml.errors import Invalid

Number = int | float

MIN_INT, MAX_INT = -(2**63), 2**63 - 1


def checked(number: Any) -> Number:
    """Return `number`, which a tensor can hold.

    Raises:
        Invalid: it is complex, not finite, or a whole number of more than 64 bits.
    """
    match number:
        case complex():
            raise Invalid("it is not a real number")
        case int() if not MIN_INT <= number <= MAX_INT:
            raise Invalid("it is beyond the whole numbers of 64 bits; write it as a float, as 1e30")
        case float() if not math.isfinite(number):
            raise Invalid(f"it is {number}, not a finite number")
    assert isinstance(number, int | float)
    return number


def compute(operation: Callable[..., Any], *numbers: Number) -> Number:
    """Return what one of Python's operators makes of numbers.

    Raises:
        Invalid: it has no value, or one that a tensor cannot hold.
    """
    if operation is operator.pow and _has_no_end(*numbers):
        raise Invalid("it is beyond the whole numbers of 64 bits; write a float, as 2.0**100")
    try:
        return checked(operation(*numbers))
    except ZeroDivisionError:
        raise Invalid("it divides by 0") from None
    except OverflowError:
        raise Invalid("it is beyond the largest number") from None


def _has_no_end(base: Number, exponent: Number) -> bool:
    """Return whether Python would make a whole number of any length of a power."""
    whole = isinstance(base, int) and isinstance(exponent, int)
    return whole and abs(base) > 1 and exponent > MAX_INT.bit_length()
