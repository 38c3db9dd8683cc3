"""Descriptions of networks that are not trained yet."""

from ml.artifacts import Parameter
from ml.models import blueprint
from ml.models.description import describe
from ml.specs import TrainingSpec
from service.models.schemas import DescribedLayer, ModelDescription


def describe_model(spec: TrainingSpec) -> ModelDescription:
    """Return the description of the network that `spec` trains, without allocating it."""
    signature = spec.dataset.signature()
    network = blueprint(spec.model, signature)
    count = sum(parameter.numel() for parameter in network.parameters())
    description = describe(network, signature)
    inputs = signature.inputs
    return ModelDescription(
        model=spec.model.model_dump(mode="json"),
        structure=description.structure,
        parameters=[
            Parameter(name=name, shape=list(shape))
            for name, shape in description.parameters.items()
        ],
        parameter_count=count,
        layers=[
            DescribedLayer(
                name=layer.name,
                kind=type(layer.module).__name__,
                shape=list(layer.shape),
                parameters=layer.parameter_count,
            )
            for layer in description.layers
        ],
        multiply_adds=description.multiply_adds,
        is_exact=inputs.kind == "images" or inputs.is_exact,
    )
