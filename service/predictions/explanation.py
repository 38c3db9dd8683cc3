"""`?explain=true`: the images that a model saw, beside its predictions."""

from starlette.types import Scope

from ml.errors import Invalid
from ml.inference.model import Model
from service.errors import Unprocessable
from service.predictions.query import parse_query


def is_asked(scope: Scope) -> bool:
    """Return whether a request asks for an explanation.

    Raises:
        Unprocessable: the query is invalid.
    """
    return parse_query(scope).explain


def check_images(model: Model) -> None:
    """Check that the predictions of `model` can be explained.

    Raises:
        Unprocessable: the model does not take images.
    """
    if model.manifest.signature.inputs.kind != "images":
        raise refusal("shows the images that a model saw, and this model takes features")


def refusal(reason: str) -> Unprocessable:
    """Return the refusal of the parameter `explain`."""
    return Unprocessable.at(Invalid(reason), "query", "explain")
