"""An in-memory store of uploads, for training without a service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ml import datasets
from ml.artifacts import Manifest, load_model, save_model
from ml.datasets import Dataset
from ml.datasets.uploads import UPLOADS, Upload
from ml.errors import Invalid
from ml.inference.model import Model
from ml.ingest import Options, ingest
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run

CPU = torch.device("cpu")


class Shelf:
    """Uploads by number."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._uploads: dict[str, Upload] = {}

    def put(
        self, content: str | bytes, target: str | list[str] | None = None, **options: Any
    ) -> str:
        name = f"ds_{len(self._uploads)}"
        source, directory = self.root / name, self.root / UPLOADS / name
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        directory.mkdir(parents=True)
        read = Options(**options)
        schema = ingest(source, directory, read)
        self._uploads[name] = Upload(name, "fruit", name, schema, target, directory, read.types)
        return name

    def find(self, dataset_id: str) -> Upload:
        if dataset_id not in self._uploads:
            raise Invalid(f"there is no data set {dataset_id!r}")
        return self._uploads[dataset_id]

    def spec(self, dataset: Mapping[str, Any], **rest: Any) -> TrainingSpec:
        # Of a quick model, unless the test is about another one.
        document = {"dataset": {"kind": "upload"} | dict(dataset), "model": "linear"} | rest
        spec = TrainingSpec.of(document, self)
        # As read from a job's row, where no lookup is possible.
        assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec
        return spec

    def load(self, spec: TrainingSpec) -> Dataset:
        return datasets.load(spec.dataset, spec.split, self.root)

    def train(self, spec: TrainingSpec) -> tuple[Run, Dataset]:
        data = self.load(spec)
        run = Run(build(spec, data), data, spec, CPU)
        for _ in loop.train(run):
            pass
        return run, data

    def model(self, spec: TrainingSpec) -> tuple[Model, Manifest]:
        run, data = self.train(spec)
        directory = self.root / f"model-{len(list(self.root.iterdir()))}"
        manifest = save_model(directory, run.model, spec, data.signature, {}, "", CPU)
        return Model(manifest, load_model(directory, manifest)), manifest
