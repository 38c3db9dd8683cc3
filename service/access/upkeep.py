"""Upkeep of keys, every minute."""

import asyncio
import logging
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from service.access.authenticator import Authenticator
from service.access.key_store import KeyStore

SECONDS = 60.0

logger = logging.getLogger(__name__)


async def keep_up(authenticator: Authenticator, keys: KeyStore) -> None:
    """Record the times of the last requests with keys, and look for changes of keys that nobody
    told of, until cancelled. Neither is worth a request that waits, nor an error."""
    while True:
        await asyncio.sleep(SECONDS)
        used = authenticator.take_used()
        try:
            if any(used):
                await asyncio.to_thread(partial(keys.record_use, *used))
            await authenticator.look_for_changes()
        except SQLAlchemyError as error:
            logger.warning("could not keep up with keys: %s", error)
