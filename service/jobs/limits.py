"""Limits of this machine and of its operator on a training request."""

from ml import devices
from ml.datasets.uploads import Uploads
from ml.errors import Invalid, located_at
from ml.models import count_parameters
from ml.specs import TrainingRequest, TrainingSpec, resolve
from service.errors import Unprocessable
from service.settings import Settings


def check_limits(request: TrainingRequest, uploads: Uploads, settings: Settings) -> TrainingSpec:
    """Return the spec of a request's body if it can run here.

    Raises:
        Unprocessable: the request cannot be resolved, the model is too large or does not fit the
            data, or the device does not exist.
    """
    try:
        spec = resolve(request, uploads)
        with located_at("model"):
            _check_size(spec, settings.max_parameters)
        devices.resolve(spec.device)
    except Invalid as error:
        raise Unprocessable.at(error, "body") from None
    return spec


def _check_size(spec: TrainingSpec, limit: int) -> None:
    parameters = count_parameters(spec.model, spec.dataset.signature())
    if parameters > limit:
        raise Invalid(
            f"the model would have {parameters:,} parameters; this service allows {limit:,} "
            "(EPOCHD_MAX_PARAMETERS)"
        )
