"""Routes for trained models, their versions and aliases."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Path, Query, Response

from ml.specs import TrainingRequest
from service.errors import Conflict, FilesDamaged, NotFound, PreconditionFailed
from service.http.problem_json import problems
from service.jobs.limits import admit
from service.models.description import describe_model
from service.models.preconditions import Preconditions
from service.models.schemas import (
    AliasRequest,
    DescriptionRequest,
    ModelAlias,
    ModelDescription,
    ModelSummary,
    ModelVersion,
    VersionSummary,
)
from service.routes.dependencies import WRITES, AppComponents, Components, CurrentCaller
from service.routes.parameters import Limit, ModelName, Owner, Version
from service.schemas import Page

router = APIRouter(prefix="/models", tags=["models"])

Alias = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$",
        description="Letters, digits, `_`, `.` and `-`; starts with a letter or `_`.",
    ),
]
Force = Annotated[bool, Query(description="Whether to delete it even if a job will add a version.")]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="ETags, one of which the alias must have."),
]
IfNoneMatch = Annotated[
    str | None, Header(max_length=1000, description="`*`: the alias must not exist yet.")
]


EXAMPLES = {
    "Layers of your own": {
        "value": {
            "dataset": "mnist",
            "model": {
                "kind": "sequential",
                "layers": [
                    {"conv2d": 16, "kernel_size": 3, "padding": "same", "name": "conv1"},
                    "relu",
                    {"max_pool2d": 2},
                    "flatten",
                    {"linear": 64, "name": "fc1"},
                    "relu",
                    {"dropout": 0.2},
                ],
            },
        }
    },
    "The tutorial's network": {"value": {"dataset": "mnist"}},
}


@router.post("/describe", responses=problems(FilesDamaged))
def describe_network(
    request: Annotated[DescriptionRequest, Body(openapi_examples=EXAMPLES)],
    components: AppComponents,
    caller: CurrentCaller,
) -> ModelDescription:
    """Describe the network of a job without training it: its layers as `print(model)` shows them,
    the name and shape of each parameter, the shape after each layer, and the cost of a row.

    The fields are those of a job, and are refused for the same reasons."""
    wanted = TrainingRequest(dataset=request.dataset, model=request.model, split=request.split)
    with components.datasets.recording_damage():
        uploads = components.datasets.seen_by(caller)
        return describe_model(admit(wanted, uploads, components.settings).spec)


@router.get("")
def list_models(
    components: AppComponents, caller: CurrentCaller, owner: Owner = None
) -> Page[ModelSummary]:
    """List all models, sorted by name."""
    return Page(data=components.registry.names(owner, caller), next=None)


@router.get("/{name}", responses=problems(NotFound))
def get_model(name: ModelName, components: AppComponents) -> ModelVersion:
    """Return the version behind the bare name: the alias `default` if set, else the newest."""
    return _with_damage(components.registry.fetch(name), components)


@router.delete(
    "/{name}",
    status_code=204,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def delete_model(name: ModelName, components: AppComponents, force: Force = False) -> None:
    """Delete a model with all its versions, files and aliases. Without `force`, a model to which a
    waiting or running job will add a version is not deleted. With it, the job goes on, and its
    version has the next number: version numbers are never reused."""
    components.registry.delete_all(name, force)


@router.get("/{name}/versions", responses=problems(NotFound))
def list_model_versions(
    name: ModelName,
    components: AppComponents,
    limit: Limit = 50,
    after: Annotated[
        int | None,
        Query(ge=1, le=2**31 - 1, description="Version below which the page begins, a `next`."),
    ] = None,
) -> Page[VersionSummary]:
    """List the versions of a model, newest first."""
    return components.registry.versions(name, limit, after)


@router.get("/{name}/versions/{version}", responses=problems(NotFound))
def get_model_version(name: ModelName, version: Version, components: AppComponents) -> ModelVersion:
    """Return a version of a model with its structure, parameters, metrics and lineage."""
    return _with_damage(components.registry.fetch(name, version), components)


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def delete_model_version(name: ModelName, version: Version, components: AppComponents) -> None:
    """Delete a version and its files. A version with an alias is not deleted. Version numbers are
    never reused."""
    components.registry.delete(name, version)


@router.get("/{name}/aliases", responses=problems(NotFound))
def list_aliases(name: ModelName, components: AppComponents) -> Page[ModelAlias]:
    """List the aliases of a model, sorted by name."""
    return Page(data=components.registry.aliases(name), next=None)


@router.get("/{name}/aliases/{alias}", responses=problems(NotFound))
def get_alias(
    name: ModelName, alias: Alias, components: AppComponents, response: Response
) -> ModelAlias:
    """Return an alias."""
    return _with_etag(components.registry.alias(name, alias), response)


@router.put(
    "/{name}/aliases/{alias}",
    responses=problems(NotFound, PreconditionFailed),
    dependencies=WRITES,
)
def set_alias(
    name: ModelName,
    alias: Alias,
    request: Annotated[
        AliasRequest, Body(openapi_examples={"version 3": {"value": {"version": 3}}})
    ],
    components: AppComponents,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> ModelAlias:
    """Point an alias at a version, to promote it or roll back. Every prediction requested after the
    response uses that version."""
    preconditions = Preconditions(if_match, if_none_match)
    return _with_etag(
        components.registry.set_alias(name, alias, request.version, preconditions), response
    )


@router.delete(
    "/{name}/aliases/{alias}",
    status_code=204,
    responses=problems(NotFound, PreconditionFailed),
    dependencies=WRITES,
)
def delete_alias(
    name: ModelName, alias: Alias, components: AppComponents, if_match: IfMatch = None
) -> None:
    """Delete an alias; the version it points to is kept."""
    components.registry.delete_alias(name, alias, Preconditions(if_match))


def _with_damage(version: ModelVersion, components: Components) -> ModelVersion:
    damage = components.model_files.damage(version.name, version.version)
    return version.model_copy(update={"damage": damage})


def _with_etag(alias: ModelAlias, response: Response) -> ModelAlias:
    response.headers["ETag"] = alias.etag
    return alias
