"""In-memory index of model names, versions and aliases, always up to date."""

import asyncio
import re
from dataclasses import dataclass

from service.access.caller import Caller
from service.errors import NotFound, Unloaded, Unprocessable
from service.models.registry import DEFAULT, Entry, ModelRegistry
from service.schemas import ModelRef
from service.storage.shared_version import SharedVersion

REFERENCE = re.compile(
    r"^(?P<name>[^@]+)(?:@(?:(?P<version>[1-9]\d{0,8})|(?P<alias>[A-Za-z_][A-Za-z0-9_.-]{0,63})))?$"
)


@dataclass(frozen=True)
class ResolvedModel:
    """A version of a model, and its artifact directory relative to the models directory."""

    ref: ModelRef
    directory: str
    owner: str | None
    """Owner of the model."""


class NameIndex:
    """A copy of the registry that is reloaded when the registry's version changes. A request thus
    needs no query, yet sees every change that was acknowledged before it."""

    def __init__(self, registry: ModelRegistry, registry_version: SharedVersion) -> None:
        self._registry = registry
        self._registry_version = registry_version
        self.seen_version: bytes | None = None
        """Registry version at the last reload."""
        self._entries: dict[str, Entry] = {}
        self._references: dict[str, ResolvedModel] = {}
        self._served: set[str] = set()
        self._reading = asyncio.Lock()

    async def resolve(self, reference: str, caller: Caller) -> ResolvedModel:
        """Return the version that `name`, `name@3` or `name@alias` refers to.

        Raises:
            Unprocessable: the reference is malformed.
            Forbidden: the caller's key is for other models.
            NotFound: there is no such model, version or alias that the caller may see.
            Unloaded: the model is unloaded.
        """
        await self.entries()
        resolved = self._references.get(reference)
        if resolved is None or not _may_use(caller, resolved):
            resolved = self._references[reference] = self._resolve(reference, caller)
        return resolved

    def get_resolved(self, reference: str, caller: Caller) -> ResolvedModel | None:
        """Return the cached resolution of `reference`; None if there is none for the caller, or
        the registry has changed."""
        if not self._is_current():
            return None
        resolved = self._references.get(reference)
        if resolved is None or caller.is_unrestricted or _may_use(caller, resolved):
            return resolved
        return None

    async def entries(self) -> dict[str, Entry]:
        """Return the entries of all models, by name."""
        if not self._is_current():
            await self._refresh()
        return self._entries

    async def entries_for(self, caller: Caller) -> dict[str, Entry]:
        """Return the entries of the models that the caller may see and use, by name."""
        entries = await self.entries()
        return {
            name: entry
            for name, entry in entries.items()
            if caller.is_for(name) and caller.may_see(entry.owner)
        }

    def serves(self, directory: str) -> bool:
        """Return whether `directory` held a loaded version at the last reload."""
        return directory in self._served

    def _is_current(self) -> bool:
        return self._registry_version.current() == self.seen_version

    async def _refresh(self) -> None:
        """Reload the registry, unless another request has just done so."""
        async with self._reading:
            # Read before the rows, so that a concurrent change causes another reload.
            current = self._registry_version.current()
            if current != self.seen_version:
                self._entries = await asyncio.to_thread(self._registry.snapshot)
                self._references = {}
                self._served = {
                    directory
                    for entry in self._entries.values()
                    if not entry.unloaded
                    for directory in entry.directories.values()
                }
                self.seen_version = current

    def _resolve(self, reference: str, caller: Caller) -> ResolvedModel:
        match = REFERENCE.match(reference)
        if match is None:
            message = (
                f"{reference!r} is not a model reference; use `name`, `name@3` or `name@alias`"
            )
            raise Unprocessable(message, [(("body", "model"), message)])
        name, version, alias = match["name"], match["version"], match["alias"]
        caller.check_model(name)
        entry = self._entries.get(name)
        if entry is None or not caller.may_see(entry.owner):
            raise NotFound(f"there is no model {name!r}")
        if alias and alias not in entry.aliases:
            raise NotFound(f"model {name!r} has no alias {alias!r}")
        if version:
            number = int(version)
        else:
            number = entry.aliases.get(alias or DEFAULT) or max(entry.directories)
        if number not in entry.directories:
            raise NotFound(f"model {name!r} has no version {number}")
        if entry.unloaded:
            raise Unloaded(
                f"model {name!r} is unloaded; load it with `POST /v2/repository/models/{name}/load`"
            )
        return ResolvedModel(
            ModelRef(name=name, version=number), entry.directories[number], entry.owner
        )


def _may_use(caller: Caller, model: ResolvedModel) -> bool:
    return caller.may_see(model.owner) and caller.is_for(model.ref.name)
