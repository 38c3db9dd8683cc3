"""Writes that must not be lost: an attempt's end, and what the service says of it."""

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from service.storage.failures import diagnose

RETRY_SECONDS = 0.5

Result = TypeVar("Result")


def passes(error: SQLAlchemyError) -> bool:
    """Return whether the database can be used again after a while: it is busy, or its disk full."""
    failure = diagnose(error)
    return failure is not None and failure.passes


def until_done(transaction: Callable[[], Result], on_failure: Callable[[], None]) -> Result:
    """Run a transaction until the database takes it, and return its result. `on_failure` is called
    whenever the database cannot be used."""
    while True:
        try:
            return transaction()
        except SQLAlchemyError as error:
            if not passes(error):
                raise
            on_failure()
            time.sleep(RETRY_SECONDS)
