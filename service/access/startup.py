"""The start of a service that others than this machine can reach: not without a key."""

import logging
import os

from service.access.audit_log import AuditLog
from service.access.audit_trail import of_command
from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import KeyRequest
from service.errors import KeyNeeded
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion

FIRST_ADMIN = "admin"

logger = logging.getLogger(__name__)


def prepare(settings: Settings) -> str | None:
    """Make sure that a service that listens beyond this machine has a key. Return the secret of the
    first one if it was made now, for `EPOCHD_ADMIN_KEY_FILE`.

    Raises:
        KeyNeeded: it has none.
        DatabaseUnusable: the service cannot start on its database.
    """
    openings = _openings(settings)
    if settings.is_local and not openings and settings.admin_key_file is None:
        return None
    database = Database(settings.sqlalchemy_url)
    try:
        database.migrate()
        keys = KeyStore(database, SharedVersion(settings.keys_version_file))
        if keys.exist():
            return None
        if settings.admin_key_file is not None:
            return _first_key(keys, settings)
    finally:
        database.close()
    if settings.is_local:
        for opening in openings:
            logger.warning("%s may do everything, for there is no key", opening)
        return None
    if not settings.insecure:
        raise KeyNeeded(
            f"refusing to listen on {settings.host} without any key: everybody who reaches it "
            "could do everything. Make an admin's key with\n"
            "    epochd keys add NAME --role admin\n"
            "or listen on 127.0.0.1, or add --insecure if only people you trust reach it"
        )
    logger.warning(
        "INSECURE: listening on %s without any key; everybody who reaches it may do everything",
        settings.host,
    )
    return None


def _openings(settings: Settings) -> list[str]:
    """Return who else reaches a service that listens on this machine only."""
    openings = []
    if settings.trusted_proxies:
        openings.append("everybody whom a trusted proxy (EPOCHD_TRUSTED_PROXIES) lets in")
    if "*" in settings.cors_origins:
        openings.append("every web page that a user of this machine visits (EPOCHD_CORS_ORIGINS=*)")
    return openings


def _first_key(keys: KeyStore, settings: Settings) -> str:
    file = settings.admin_key_file
    assert file is not None
    try:
        # Before the key, which nobody would know if it could not be written.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise KeyNeeded(f"EPOCHD_ADMIN_KEY_FILE: {file}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as opened:
        os.fchmod(descriptor, 0o600)
        secret = keys.add(KeyRequest(name=FIRST_ADMIN, role=Role.ADMIN)).secret
        opened.write(f"{secret}\n")
        opened.flush()
        os.fsync(descriptor)
    AuditLog.of(settings).append(of_command("serve", "key", FIRST_ADMIN))
    return secret
