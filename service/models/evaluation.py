"""Evaluation of registered models on data sets, in the web process and within limits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import BaseModel, ConfigDict

from ml import datasets
from ml.datasets import Dataset, DatasetRequest, DatasetSpec, Rows, SplitSpec
from ml.datasets.uploaded_table import TableView
from ml.datasets.uploads import UploadRequest, Uploads, UploadSpec
from ml.errors import DataUnavailable, Invalid
from ml.evaluation import compatibility
from ml.evaluation.evaluate import evaluate_split, evaluation_split
from ml.evaluation.schemas import Classification, Regression, Split
from ml.inference.model import Model
from ml.losses import LOSSES, LossName
from ml.strict import parse
from ml.training.summary import TrainingSummary
from service.datasets.memory import MemorySlots, check_size
from service.errors import DeadlineExceeded, NotFound, Unavailable, Unprocessable
from service.models.files import ModelFiles
from service.models.schemas import EvaluationRequest
from service.settings import Settings
from service.work.attended import Check, unchecked

SECONDS = 120.0
"""Time limit of an evaluation, after its data is loaded."""


class Trained(BaseModel):
    """The part of a model's stored spec that an evaluation uses."""

    model_config = ConfigDict(strict=True, frozen=True)

    dataset: DatasetSpec
    split: SplitSpec
    loss: LossName


class ModelEvaluator:
    """Evaluates models. Thread-safe."""

    def __init__(self, files: ModelFiles, settings: Settings, memory_slots: MemorySlots) -> None:
        self._files = files
        self._datasets_dir = settings.datasets_dir
        self._memory_slots = memory_slots

    def evaluation_at_training(self, name: str, version: int) -> Classification | Regression:
        """Return the evaluation made at the end of the model's training.

        Raises:
            NotFound: there is no such version, or it was trained by a version of the service that
                kept no evaluation.
            Damaged: its files are damaged.
        """
        try:
            with self._files.reading(name, version) as files:
                return TrainingSummary.load(files.directory).evaluation
        except FileNotFoundError:
            message = f"version {version} of model {name!r} has no stored evaluation; request one"
            raise NotFound(message) from None

    def evaluate(
        self,
        name: str,
        version: int,
        request: EvaluationRequest,
        uploads: Uploads,
        check: Check = unchecked,
    ) -> Classification | Regression:
        """Evaluate the model on the rows that `request` selects; call `check` between batches.

        Raises:
            NotFound: there is no such version.
            Unprocessable: the data set does not fit the model, is too large or lacks such rows.
            Unavailable: the data set cannot be downloaded.
            Damaged: the files of the version or of the data set are damaged.
            Overloaded: see `MemorySlots.acquire`.
            DeadlineExceeded: the evaluation took longer than `SECONDS`.
        """
        with self._memory_slots.acquire():
            # PyTorch keeps this setting per thread; the cores belong to the trainers.
            torch.set_num_threads(1)
            return self._evaluate(self._files.load(name, version), request, uploads, check)

    def _evaluate(
        self, model: Model, request: EvaluationRequest, uploads: Uploads, check: Check
    ) -> Classification | Regression:
        trained = _trained(model)
        with _located_errors("dataset"):
            dataset = _dataset(request.dataset, trained.dataset, uploads)
            compatibility.check(dataset.signature(), model.manifest.signature)
            check_size(dataset)
        same_dataset = dataset == trained.dataset
        division = request.division or (trained.split if same_dataset else SplitSpec())
        with _located_errors("division"):
            datasets.check_split(dataset, division)
        with _located_errors():
            data = datasets.load(
                dataset, division, self._datasets_dir, signature=model.manifest.signature
            )
        with _located_errors("split"):
            split, rows = _select_split(data, request.split)
        return evaluate_split(
            model.network,
            rows,
            model.manifest.signature,
            LOSSES[trained.loss],
            split,
            _deadline(check),
        ).evaluation


def _trained(model: Model) -> Trained:
    try:
        return parse(Trained, model.manifest.spec)
    except Invalid as error:
        message = f"the spec of this model is no longer valid: {error.with_place()}"
        raise Unprocessable(message) from None


def _dataset(
    requested: DatasetRequest | None, trained: DatasetSpec, uploads: Uploads
) -> DatasetSpec:
    """Return the data set to evaluate on. For an uploaded table, columns that the request leaves
    out default to those the model was trained on."""
    if requested is None:
        return trained
    view = trained.resolved.view if isinstance(trained, UploadSpec) else None
    if isinstance(requested, UploadRequest) and isinstance(view, TableView):
        view_fields = {"target": view.target, "task": view.task, "features": view.features}
        left_out = view_fields.keys() - requested.model_fields_set
        requested = requested.model_copy(update={name: view_fields[name] for name in left_out})
    return datasets.resolve(requested, uploads)


@contextmanager
def _located_errors(*place: str) -> Iterator[None]:
    """Convert errors of `ml` to errors located at `place` in the request."""
    try:
        yield
    except Invalid as error:
        raise Unprocessable.at(error, "body", *place) from None
    except DataUnavailable as error:
        raise Unavailable(str(error)) from error


def _select_split(data: Dataset, split: Split | None) -> tuple[Split, Rows]:
    if split is None:
        return evaluation_split(data)
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    if split == "all":
        there = [rows for rows in parts.values() if rows is not None]
        inputs = torch.cat([rows.inputs for rows in there])
        return split, Rows(inputs, torch.cat([rows.targets for rows in there]))
    rows = parts[split]
    if rows is None:
        there_are = ", ".join(name for name, part in parts.items() if part is not None)
        raise Invalid(f"this division has no {split} rows; choose {there_are} or all")
    return split, rows


def _deadline(wanted: Check) -> Check:
    """Return a function that calls `wanted`, and raises `DeadlineExceeded` after `SECONDS`."""
    end = time.monotonic() + SECONDS

    def check() -> None:
        wanted()
        if time.monotonic() > end:
            raise DeadlineExceeded(
                f"the evaluation took longer than {SECONDS:g} seconds; use fewer rows"
            )

    return check
