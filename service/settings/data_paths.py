"""Places in the data directory."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class DataPaths(BaseSettings):
    """The data directory, and what stands in it."""

    data_dir: Path = Field(
        default=Path("data"), description="Directory of the database, models and data sets."
    )

    @property
    def registry_version_file(self) -> Path:
        """File of the model registry's version."""
        return self.data_dir.resolve() / "registry.revision"

    @property
    def keys_version_file(self) -> Path:
        """File of the version of keys and sessions."""
        return self.data_dir.resolve() / "keys.revision"

    @property
    def audit_file(self) -> Path:
        """Newest file of the audit log; the names of earlier ones end in a number."""
        return self.data_dir.resolve() / "audit.jsonl"

    @property
    def warnings_file(self) -> Path:
        """File of the scheduler's device warnings, read by every web process."""
        return self.data_dir.resolve() / "device.warnings"

    @property
    def damage_dir(self) -> Path:
        """Directory of notes about damaged files."""
        return self.data_dir.resolve() / "damage"

    @property
    def instance_file(self) -> Path:
        """File of the identity that the data directory shares with its database."""
        return self.data_dir.resolve() / "instance"

    @property
    def data_warning_file(self) -> Path:
        """File that says why nothing is cleaned up, read by every web process. It stays
        over restarts, until no artifact is unknown to the database."""
        return self.data_dir.resolve() / "data.warning"

    @property
    def trash_dir(self) -> Path:
        """Directory of what was moved out of the way, one subdirectory per day."""
        return self.data_dir.resolve() / "trash"

    @property
    def pool_health_file(self) -> Path:
        """File in which the scheduler records that no trainer is running."""
        return self.data_dir.resolve() / "trainers.health"

    @property
    def roster_file(self) -> Path:
        """File in which the scheduler records the trainers and their devices."""
        return self.data_dir.resolve() / "trainers.roster"

    @property
    def compile_cache_dir(self) -> Path:
        """Directory of the kernels that `torch.compile` generates."""
        return self.data_dir.resolve() / "compile_cache"

    @property
    def models_dir(self) -> Path:
        """Directory of trained models, one subdirectory each."""
        return self.data_dir.resolve() / "models"

    @property
    def checkpoints_dir(self) -> Path:
        """Directory of checkpoints, one subdirectory per job."""
        return self.data_dir.resolve() / "checkpoints"

    @property
    def datasets_dir(self) -> Path:
        """Directory of data sets, in torchvision's layout."""
        return self.data_dir.resolve() / "datasets"

    @property
    def uploads_dir(self) -> Path:
        """Directory of uploaded data sets, one subdirectory each."""
        return self.datasets_dir / "uploads"

    @property
    def incoming_dir(self) -> Path:
        """Directory of incoming uploads until they are read."""
        return self.uploads_dir / ".incoming"
