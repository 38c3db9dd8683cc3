"""The files of model versions, checked before they are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ml import integrity
from ml.artifacts import MANIFEST, WEIGHTS, Manifest, load_manifest, load_model
from ml.errors import Damaged, belonging_to
from ml.inference.model import Model
from service.errors import NotFound
from service.models.registry import ModelRegistry
from service.readiness import Finding
from service.storage.damage import DamageNotes, KnownDamage

NEEDED = WEIGHTS, MANIFEST, integrity.CHECKSUMS
"""Files without which a version cannot be served."""
REMEDY = "restore its files from a backup"


class VersionFiles(NamedTuple):
    """The directory of a version, and the manifest in it."""

    directory: Path
    manifest: Manifest


class ModelFiles:
    """Opens the files of versions, and remembers those that are damaged. Thread-safe."""

    def __init__(self, registry: ModelRegistry, notes: DamageNotes) -> None:
        self._registry = registry
        self._notes = notes

    @contextmanager
    def reading(self, name: str, version: int) -> Iterator[VersionFiles]:
        """Return the files of a version, to be read within the context.

        Raises:
            NotFound: there is no such version, or it was deleted within the context.
            Damaged: its manifest, or a file read within the context, is damaged.
        """
        directory, weights_sha256 = self._registry.stored(name, version)
        try:
            with belonging_to(f"version {version} of model {name!r}", REMEDY):
                manifest = load_manifest(directory)
                if manifest.weights_sha256 != weights_sha256:
                    raise Damaged(directory / MANIFEST, "belongs to another model")
                yield VersionFiles(directory, manifest)
        except Damaged as damage:
            try:
                self._registry.stored(name, version)
            except NotFound:
                raise NotFound(f"version {version} of model {name!r} was deleted") from None
            self._notes.record(damage)
            raise

    def load(self, name: str, version: int) -> Model:
        """Load the model of a version.

        Raises:
            NotFound: there is no such version.
            Damaged: its manifest or its weights are damaged.
        """
        with self.reading(name, version) as files:
            model = Model(files.manifest, load_model(files.directory, files.manifest))
        self._notes.forget(files.directory.name, *NEEDED)
        return model

    def check(self, name: str, version: int) -> None:
        """Check that a version can be loaded. Files that have not changed since this process last
        checked them are not read again.

        Raises:
            NotFound, Damaged: see `load`.
        """
        with self.reading(name, version) as files:
            integrity.checked(files.directory, WEIGHTS, files.manifest.weights_sha256)
        self._notes.forget(files.directory.name, *NEEDED)

    def damage(self, name: str, version: int) -> str | None:
        """Return what is wrong with any file of a version. Files that have not changed since this
        process last checked them are not read again."""
        try:
            with self.reading(name, version) as files:
                if integrity.is_sealed(files.directory):
                    integrity.check(files.directory, again=False)
                integrity.checked(files.directory, WEIGHTS, files.manifest.weights_sha256)
        except Damaged as damage:
            return damage.brief()
        self._notes.forget(files.directory.name)
        return None

    def known_damage(self) -> list[KnownDamage]:
        """Return the files of versions that were found damaged."""
        return self._notes.current(self._registry.has_directory)

    def findings(self) -> Iterator[Finding]:
        """Name the damaged files of versions; the others are served."""
        return (Finding(damage.message) for damage in self.known_damage())

    def known_unservable(self) -> dict[str, str]:
        """Return a message for each version that was found unable to be served, by the name of its
        directory."""
        return {
            damage.artifact: damage.message
            for damage in self.known_damage()
            if damage.file in NEEDED
        }
