"""The boundary around readers of foreign bytes: whatever fails inside is the input's fault.

A reader meets inputs that nobody thought of: lists nested a million deep, headers that lie about
sizes, values at the ends of their types. Inside `decoding`, every error that the reader does not
explain itself becomes `Invalid`, and is logged with its type.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ml.errors import Invalid

logger = logging.getLogger(__name__)


@contextmanager
def decoding(subject: str, *through: type[Exception]) -> Iterator[None]:
    """Turn every error raised in this context into `Invalid`, except `Invalid` itself and the
    errors `through`. `subject` names what is being read: `the body`, `the column 'age'`.

    Raises:
        Invalid: the input cannot be read; the message begins with `subject`.
    """
    explained: tuple[type[Exception], ...] = (Invalid, *through)
    try:
        yield
    except explained:
        raise
    except Exception as error:
        raise unreadable(subject, error) from None


def unreadable(subject: str, error: Exception) -> Invalid:
    """Log an error of a reader that it did not expect, and return it as a refusal of its input."""
    logger.warning("%s cannot be read: %s", subject, type(error).__name__)
    if isinstance(error, RecursionError):
        return Invalid(f"{subject} is nested too deeply")
    if isinstance(error, MemoryError):
        return Invalid(f"{subject} needs more memory than there is; send it in smaller parts")
    return Invalid(f"{subject} cannot be read; check its format")
