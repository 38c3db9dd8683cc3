"""What this machine and its operator's limits allow of a valid spec."""

from functools import cache
from types import SimpleNamespace
from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from ml import devices
from ml.datasets.uploads import Uploads
from ml.errors import Invalid
from ml.models import count_parameters
from ml.specs import TrainingSpec
from service.errors import Unprocessable
from service.settings import Settings

Document = TypeVar("Document", bound=BaseModel)


def validated(
    kind: type[Document], document: object, uploads: Uploads, where: str = "body"
) -> Document:
    """Return a request's body, or `where` else it stood, which no framework checked, since none
    could look at the data sets that it names.

    Raises:
        RequestValidationError: something in it is wrong.
    """
    # Each of its fields asks anew.
    once = SimpleNamespace(find=cache(uploads.find))
    try:
        return kind.model_validate(document, context={"uploads": once})
    except ValidationError as error:
        found = [{**one, "loc": (where, *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found, body=document) from None


def admit(spec: TrainingSpec, settings: Settings) -> None:
    """Do nothing for a spec that can run here.

    Raises:
        Unprocessable: the model is too large or does not fit the data, or there is no such device.
    """
    try:
        parameters = count_parameters(spec.model, spec.dataset.signature())
    except Invalid as error:
        raise Unprocessable.at(error, "body", "model") from None
    if parameters > settings.max_parameters:
        message = (
            f"the model would have {parameters:,} parameters; this service allows "
            f"{settings.max_parameters:,} (EPOCHD_MAX_PARAMETERS)"
        )
        raise Unprocessable.at(Invalid(message), "body", "model")
    try:
        devices.resolve(spec.device)
    except Invalid as error:
        raise Unprocessable.at(error, "body") from None
