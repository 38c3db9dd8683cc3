"""What the names of models stand for, held in memory and true at every moment."""

import asyncio
import re
from dataclasses import dataclass

from service.errors import NotFound, Unloaded, Unprocessable
from service.models.registry import DEFAULT, Entry, ModelRegistry
from service.models.revision import RegistryVersion
from service.schemas import ModelRef

REFERENCE = re.compile(
    r"^(?P<name>[^@]+)(?:@(?:(?P<version>[1-9]\d{0,8})|(?P<alias>[A-Za-z_][A-Za-z0-9_.-]{0,63})))?$"
)


@dataclass(frozen=True)
class ResolvedModel:
    """A version of a model, and the directory of its artifact below the models directory."""

    ref: ModelRef
    directory: str


class NameIndex:
    """The registry as it stands. It is read again when its version has changed, and not before, so
    that a request costs no query and yet sees every change that was acknowledged before it."""

    def __init__(self, registry: ModelRegistry, registry_version: RegistryVersion) -> None:
        self._registry = registry
        self._registry_version = registry_version
        self.seen_version: bytes | None = None
        """The mark of the registry when it was read last."""
        self._entries: dict[str, Entry] = {}
        self._references: dict[str, ResolvedModel] = {}
        self._served: set[str] = set()
        self._reading = asyncio.Lock()

    async def resolve(self, reference: str) -> ResolvedModel:
        """Return the version that `name`, `name@3` or `name@alias` means.

        Raises:
            Unprocessable: the reference is none of these.
            NotFound: there is no such model, version or alias.
            Unloaded: there is, and it does not answer.
        """
        await self.entries()
        resolved = self._references.get(reference)
        if resolved is None:
            resolved = self._references[reference] = self._resolve(reference)
        return resolved

    def get_resolved(self, reference: str) -> ResolvedModel | None:
        """Return what `reference` means where it was resolved since the last change."""
        return self._references.get(reference) if self._is_current() else None

    async def entries(self) -> dict[str, Entry]:
        """Return all that there is, by name."""
        if not self._is_current():
            await self._refresh()
        return self._entries

    def serves(self, directory: str) -> bool:
        """Return whether a version that answers lies there, as far as is known."""
        return directory in self._served

    def _is_current(self) -> bool:
        return self._registry_version.current() == self.seen_version

    async def _refresh(self) -> None:
        """Read the registry, unless another request just did."""
        async with self._reading:
            # Before the rows: what changes meanwhile is read again.
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

    def _resolve(self, reference: str) -> ResolvedModel:
        match = REFERENCE.match(reference)
        if match is None:
            message = f"{reference!r} is no model reference; write `name`, `name@3` or `name@alias`"
            raise Unprocessable(message, [(("body", "model"), message)])
        name, version, alias = match["name"], match["version"], match["alias"]
        entry = self._entries.get(name)
        if entry is None:
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
                f"model {name!r} is not ready: it was unloaded, and "
                f"`POST /v2/repository/models/{name}/load` brings it back"
            )
        return ResolvedModel(ModelRef(name=name, version=number), entry.directories[number])
