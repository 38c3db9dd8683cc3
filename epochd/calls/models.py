"""Calls about models."""

from collections.abc import Generator, Mapping
from typing import Any

from epochd.calls.call import (
    LONG_SECONDS,
    Call,
    call,
    given,
    pages,
    path,
    reads,
    reads_list,
    reads_nothing,
    reads_page,
)
from epochd.schemas import (
    Evaluation,
    ModelAlias,
    ModelDescription,
    ModelInfo,
    ModelRef,
    ModelSummary,
    Page,
    VersionInfo,
)

MODEL, ALIAS, EVALUATION = reads(ModelInfo), reads(ModelAlias), reads(Evaluation)


def describe(
    *, dataset: Any, model: Any = None, split: Mapping[str, Any] | None = None
) -> Call[ModelDescription]:
    """Describe the network of a job without training it."""
    document = given(dataset=dataset, model=model, split=split)
    return call("POST", "/models/describe", reads(ModelDescription), json=document).repeatable()


def listed(*, owner: str | None = None) -> Call[list[ModelSummary]]:
    """Return all models, sorted by name."""
    return call("GET", "/models", reads_list(ModelSummary), params={"owner": owner})


def get(reference: str) -> Generator[Call[Any], Any, ModelInfo]:
    """Return a version of a model: `name@3`, `name@alias`, or `name` for the alias `default` if
    set, else the newest."""
    name, at, which = reference.partition("@")
    if not at:
        return (yield from call("GET", path("models", name), MODEL))
    if which.isascii() and which.isdecimal():
        return (yield from version(name, int(which)))
    target = yield from call("GET", path("models", name, "aliases", which), ALIAS)
    return (yield from version(name, target.version))


def again(model: ModelRef) -> Call[ModelInfo]:
    """Ask the service for the aliases and the state of the version."""
    return version(model.name, model.version)


def version(name: str, number: int) -> Call[ModelInfo]:
    """Return a version of a model."""
    return call("GET", _path(ModelRef(name=name, version=number)), MODEL)


def versions(name: str, *, limit: int | None = 50) -> Generator[Call[Any], Any, list[VersionInfo]]:
    """Return the versions of a model, the newest first; all of them if `limit` is None."""

    def page(after: str | None, size: int) -> Call[Page[VersionInfo]]:
        params = {"limit": size, "after": after}
        return call("GET", path("models", name, "versions"), reads_page(VersionInfo), params=params)

    return pages(page, limit)


def delete_all(name: str, *, force: bool = False) -> Call[None]:
    """Delete a model with all its versions and aliases; with `force`, even if a job will add
    another version."""
    return call("DELETE", path("models", name), reads_nothing, params={"force": force or None})


def delete(model: ModelRef) -> Call[None]:
    """Delete the version and its files. A version with an alias is not deleted."""
    return call("DELETE", _path(model), reads_nothing)


def aliases(model: ModelRef) -> Call[list[ModelAlias]]:
    """Return the aliases of all versions of the model."""
    return call("GET", path("models", model.name, "aliases"), reads_list(ModelAlias))


def alias(model: ModelRef, name: str) -> Call[ModelAlias]:
    """Return an alias of the model, with the version that it points to and its ETag."""
    return call("GET", _alias(model, name), ALIAS)


def set_alias(
    model: ModelRef, name: str, *, if_match: str | None = None, if_none_match: str | None = None
) -> Call[ModelAlias]:
    """Point an alias at this version: `default` is the version that the bare name means.

    With `if_match`, an ETag, only if nobody has moved it meanwhile; with `if_none_match="*"`, only
    if there is no such alias yet.
    """
    headers = {"If-Match": if_match, "If-None-Match": if_none_match}
    return call("PUT", _alias(model, name), ALIAS, json={"version": model.version}, headers=headers)


def delete_alias(model: ModelRef, name: str, *, if_match: str | None = None) -> Call[None]:
    """Delete an alias of the model; the version it points to is kept."""
    return call("DELETE", _alias(model, name), reads_nothing, headers={"If-Match": if_match})


def evaluation(model: ModelRef) -> Call[Evaluation]:
    """Return the evaluation that was made at the end of the training."""
    return call("GET", f"{_path(model)}/evaluation", EVALUATION)


def evaluate(
    model: ModelRef,
    *,
    dataset: Any = None,
    division: Mapping[str, Any] | None = None,
    split: str | None = None,
) -> Call[Evaluation]:
    """Evaluate the model on all rows of another data set, or on the test rows of its own."""
    document = given(dataset=dataset, division=division, split=split)
    sent = call("POST", f"{_path(model)}/evaluate", EVALUATION, json=document, seconds=LONG_SECONDS)
    return sent.repeatable()


def load(model: ModelRef) -> Call[None]:
    """Load all versions of the unloaded model again."""
    return call("POST", path("v2", "repository", "models", model.name, "load"), reads_nothing)


def unload(model: ModelRef) -> Call[None]:
    """Unload all versions of the model: they make no predictions until they are loaded again."""
    return call("POST", path("v2", "repository", "models", model.name, "unload"), reads_nothing)


def _path(model: ModelRef) -> str:
    return path("models", model.name, "versions", model.version)


def _alias(model: ModelRef, name: str) -> str:
    return path("models", model.name, "aliases", name)
