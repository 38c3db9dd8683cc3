"""Evaluation of registered models on data sets, in the web process and within limits."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from pydantic import BaseModel, ConfigDict

from ml import datasets
from ml.datasets import Dataset, DatasetSpec, Rows, SplitSpec, Use
from ml.datasets.uploaded_table import TableView
from ml.datasets.uploads import Upload, UploadRequest, Uploads, UploadSpec
from ml.errors import DataUnavailable, Invalid, located_at
from ml.evaluation import compatibility
from ml.evaluation.baseline import Baseline, evaluate_baseline
from ml.evaluation.evaluate import evaluate_split, evaluation_split
from ml.evaluation.schemas import AnyEvaluation, Split
from ml.inference.model import Model
from ml.ingest.schema import TableSchema
from ml.losses import LossSpec
from ml.signature import Features, Signature
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
    loss: LossSpec


class ModelEvaluator:
    """Evaluates models. Thread-safe."""

    def __init__(self, files: ModelFiles, settings: Settings, memory_slots: MemorySlots) -> None:
        self._files = files
        self._datasets_dir = settings.datasets_dir
        self._memory_slots = memory_slots

    def evaluation_at_training(self, name: str, version: int) -> AnyEvaluation:
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
    ) -> AnyEvaluation:
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
            model = self._files.load(name, version)
            with self._files.reading(name, version) as files:
                baseline = Baseline.load(files.directory, model.manifest.signature)
            return self._evaluate(model, baseline, request, uploads, check)

    def _evaluate(
        self,
        model: Model,
        baseline: Baseline | None,
        request: EvaluationRequest,
        uploads: Uploads,
        check: Check,
    ) -> AnyEvaluation:
        trained, signature = _trained(model), model.manifest.signature
        with _located_errors("dataset"):
            dataset = _dataset(request, trained.dataset, signature, uploads)
            compatibility.check(dataset.signature(), signature)
            check_size(dataset)
        split, rows = self._rows(request, trained, dataset, signature, uploads)
        go_on = _deadline(check)
        loss = trained.loss.measure
        found = evaluate_split(model.network, rows, signature, loss, split, go_on).evaluation
        if baseline is None:
            return found
        preprocessing = model.network.get_submodule("preprocessing")
        compared = evaluate_baseline(baseline, preprocessing, rows, signature, go_on)
        return found.model_copy(update={"baseline": compared})

    def _rows(
        self,
        request: EvaluationRequest,
        trained: Trained,
        dataset: DatasetSpec,
        signature: Signature,
        uploads: Uploads,
    ) -> tuple[Split, Rows]:
        """Load the rows that `request` selects of `dataset`, and return the split they are of."""
        is_own = _are_same(dataset, trained.dataset)
        if (request.split or _default_split(request, is_own)) == "all":
            with _located_errors():
                return "all", datasets.load_undivided(dataset, self._datasets_dir, signature)
        division = request.division or (trained.split if is_own else SplitSpec())
        with _located_errors("division"):
            datasets.check_split(dataset, division)
            if request.division is not None:
                datasets.check_columns(dataset, division, uploads)
        with _located_errors():
            data = datasets.load(dataset, division, self._datasets_dir, signature=signature)
        with _located_errors("split"):
            return _select_split(data, request.split)


def _trained(model: Model) -> Trained:
    try:
        return parse(Trained, model.manifest.spec)
    except Invalid as error:
        message = f"the spec of this model is no longer valid: {error.with_place()}"
        raise Unprocessable(message) from None


def _dataset(
    request: EvaluationRequest, trained: DatasetSpec, signature: Signature, uploads: Uploads
) -> DatasetSpec:
    """Return the data set to evaluate on."""
    requested = request.dataset
    if requested is None:
        return trained
    if isinstance(requested, UploadRequest):
        requested = _with_columns(requested, trained, signature, uploads)
    divided_by = None if request.division is None else request.division.column
    return datasets.resolve(requested, uploads, Use(divided_by, learns=False))


def _with_columns(
    requested: UploadRequest, trained: DatasetSpec, signature: Signature, uploads: Uploads
) -> UploadRequest:
    """Return a request with the columns that it leaves out: those the model was trained on, in the
    model's order, and for its own data set the column of its splits.

    Raises:
        Invalid: the data set lacks these columns, or has images for a model of rows or the reverse.
    """
    with located_at("id"):
        upload = uploads.find(requested.id)
    is_table, inputs = isinstance(upload.schema, TableSchema), signature.inputs
    if is_table != isinstance(inputs, Features):
        kinds = ("rows", "images") if is_table else ("images", "rows")
        raise Invalid("has {}, but this model takes {}".format(*kinds))
    if not isinstance(inputs, Features):
        return requested
    defaults: dict[str, object] = {"features": dict.fromkeys(inputs.names)}
    targets: list[str] = []
    if isinstance(trained, UploadSpec) and isinstance(view := trained.resolved.view, TableView):
        defaults = {"target": view.target, "task": view.task, "features": view.features}
        targets = view.targets
        if upload.content == trained.resolved.content:
            defaults["split_by"] = trained.split_by
    left_out = defaults.keys() - requested.model_fields_set
    requested = requested.model_copy(update={name: defaults[name] for name in left_out})
    needed = [*inputs.names] if "features" in left_out else []
    needed += targets if "target" in left_out else []
    _check_columns(upload, needed)
    if requested.features and requested.features.keys() == set(inputs.names):
        ordered = {name: requested.features[name] for name in inputs.names}
        return requested.model_copy(update={"features": ordered})
    return requested


def _check_columns(upload: Upload, needed: Sequence[str]) -> None:
    columns = upload.columns()
    if missing := [name for name in dict.fromkeys(needed) if name not in columns]:
        raise Invalid(
            f"is missing columns of this model: {compatibility.listed(missing)}; it has "
            f"{compatibility.listed([*columns])}"
        )


def _are_same(dataset: DatasetSpec, trained: DatasetSpec) -> bool:
    if isinstance(dataset, UploadSpec) and isinstance(trained, UploadSpec):
        return dataset.resolved.content == trained.resolved.content
    return dataset == trained


def _default_split(request: EvaluationRequest, is_own: bool) -> Split | None:
    """Return `all` for another data set that the request does not divide."""
    by_column = isinstance(request.dataset, UploadRequest) and request.dataset.split_by is not None
    return None if is_own or by_column or request.division is not None else "all"


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
    parts: dict[Split, Rows | None] = {
        "train": data.train,
        "validation": data.validation,
        "test": data.test,
    }
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
