"""The times of the last requests with keys, written to the database now and then."""

import asyncio
import logging
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from service.access.authenticator import Authenticator
from service.access.key_store import KeyStore

SECONDS = 60.0

logger = logging.getLogger(__name__)


async def record_use(authenticator: Authenticator, keys: KeyStore) -> None:
    """Record the times until cancelled. They are not worth a request that waits, nor an error."""
    while True:
        await asyncio.sleep(SECONDS)
        used = authenticator.take_used()
        if not any(used):
            continue
        try:
            await asyncio.to_thread(partial(keys.record_use, *used))
        except SQLAlchemyError as error:
            logger.warning("could not record the use of keys: %s", error)
