"""Trained models."""

from typing import Annotated

from fastapi import APIRouter, Path

from service.dependencies import Service
from service.errors import NotFound, problems
from service.schemas import ModelSummary, ModelVersion, Page

router = APIRouter(prefix="/models", tags=["models"])

Version = Annotated[int, Path(ge=1, le=2**31)]


@router.get("")
def list_models(service: Service) -> Page[ModelSummary]:
    """Every model, by name."""
    return Page(data=service.registry.names(), next=None)


@router.get("/{name}", responses=problems(NotFound))
def get_model(name: str, service: Service) -> ModelVersion:
    """The newest version of a model."""
    return service.registry.fetch(name)


@router.get("/{name}/versions/{version}", responses=problems(NotFound))
def get_model_version(name: str, version: Version, service: Service) -> ModelVersion:
    """A version of a model: structure, parameters, metrics and lineage."""
    return service.registry.fetch(name, version)
