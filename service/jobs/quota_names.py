"""Names in the setting of quotas that are those of nobody, such as a misspelt role."""

from sqlalchemy import select

from service.access.caller import Role
from service.settings.quotas import Quotas
from service.storage.database import Database
from service.storage.tables import KeyRow


def unknown_names(database: Database, quotas: Quotas) -> list[str]:
    """Return the names that are neither roles nor owners of a key."""
    names = set(quotas.names) - set(Role)
    if not names:
        return []
    with database.read() as session:
        owners = session.scalars(select(KeyRow.owner).where(KeyRow.owner.in_(names)))
        return sorted(names - set(owners))
