"""Check whether a model can be evaluated on another data set."""

from collections.abc import Sequence

from ml.errors import Invalid
from ml.signature import Classes, Features, Signature

SHOWN = 10
"""Names listed in a message."""


def check(data: Signature, model: Signature) -> None:
    """Check that the inputs and targets of `data` match those of `model`.

    Raises:
        Invalid: they do not match; the message states the difference.
    """
    if isinstance(data.inputs, Features) and isinstance(model.inputs, Features):
        _same("features", data.inputs.names, model.inputs.names)
        _same_kinds(data.inputs, model.inputs)
    elif data.inputs.kind != model.inputs.kind or data.inputs.shape != model.inputs.shape:
        raise Invalid(f"has {_inputs(data)}, but this model takes {_inputs(model)}")
    if isinstance(data.output, Classes) and isinstance(model.output, Classes):
        _none_unknown("classes", data.output.names, model.output.names)
    elif data.output.kind != model.output.kind or _names(data) != _names(model):
        raise Invalid(f"has {_output(data)} as targets, but this model predicts {_output(model)}")


def _same(what: str, data: Sequence[str], model: Sequence[str]) -> None:
    if missing := [name for name in model if name not in data]:
        raise Invalid(f"is missing {what} of this model: {listed(missing)}; it has {listed(data)}")
    _none_unknown(what, data, model)
    if list(data) != list(model):
        raise Invalid(f"has its {what} in another order; this model requires {listed(model)}")


def _same_kinds(data: Features, model: Features) -> None:
    for name in model.names:
        given, wanted = (_kind(features, name) for features in (data, model))
        if given != wanted:
            raise Invalid(f"has {given} in the feature {name!r}, but this model takes {wanted}")


def _kind(features: Features, name: str) -> str:
    if name in features.numbers:
        return "numbers"
    return "dates" if features.encoding and name in features.encoding.dates else "categories"


def _none_unknown(what: str, data: Sequence[str], model: Sequence[str]) -> None:
    if unknown := [name for name in data if name not in model]:
        raise Invalid(f"has {what} unknown to this model: {listed(unknown)}")


def _inputs(signature: Signature) -> str:
    if isinstance(signature.inputs, Features):
        return f"the features {listed(signature.inputs.names)}"
    return f"images of {'x'.join(map(str, signature.inputs.shape))} pixels"


def _output(signature: Signature) -> str:
    output = signature.output
    if isinstance(output, Classes):
        return f"the classes {listed(output.names)}"
    values = ", ".join(repr(name) for name in _names(signature)[:SHOWN])
    more = ", ..." if output.size > SHOWN else ""
    return f"the value {values}" if output.size == 1 else f"the values {values}{more}"


def _names(signature: Signature) -> list[str]:
    """Return the names of a model's values; a classifier has none."""
    output = signature.output
    return [] if isinstance(output, Classes) else [target.name for target in output.targets]


def listed(names: Sequence[str]) -> str:
    """Return the first of some names, for a message."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
