"""Layers as users write them: a kind, or a mapping with the kind as its key, the main option as its
value, and other options beside it or in its value. `"relu"`, `{"linear": 64, "name": "fc1"}`,
`{"conv2d": 32, "kernel_size": 3}` and `{"conv2d": {"out_channels": 32, "kernel_size": 3}}`.
"""

from collections.abc import Mapping
from typing import Any

from ml.errors import Invalid, located_at
from ml.models.layers import Layer, Misfit
from ml.models.sequence import LAYERS, ResidualLayer, naming
from ml.strict import MAX_SHOWN, parse
from ml.suggestions import close_match

MAX_LAYERS = 256
"""Maximum number of layers in all."""
MAX_DEPTH = 8
"""Maximum number of residual layers within one another."""

INSTEAD = {
    "softmax": "the loss cross_entropy includes it; leave it out",
    "log_softmax": "the loss cross_entropy includes it; leave it out",
    "batch_norm1d": "write batch_norm",
    "batch_norm2d": "write batch_norm",
    "dense": "write linear",
}
"""Advice for names of layers that other libraries have and epochd does not."""


def read_layers(document: object, numbered: str = "") -> list[Layer]:
    """Return the layers of a document. `numbered` precedes their numbers in messages.

    Raises:
        Invalid: a layer is unknown, its options are wrong, or there are too many; `loc` is within
            `document`.
    """
    if not isinstance(document, list):
        raise Invalid('must be a list of layers, such as [{"linear": 64}, "relu"]')
    if not 1 <= len(document) <= MAX_LAYERS:
        raise Invalid(f"must have 1 to {MAX_LAYERS} layers, not {len(document):,}")
    depth = numbered.count(".")
    if depth > MAX_DEPTH:
        raise Invalid(f"has residual layers more than {MAX_DEPTH} deep")
    layers = []
    names: dict[str, str] = {}
    for index, written in enumerate(document):
        number = f"{numbered}{index + 1}"
        with located_at(index):
            layers.append(layer := _layer(written, number))
            if layer.name in names:
                message = f"has the name of layer {names[layer.name]}; choose another"
                raise Invalid(f"layer {number} ({layer.label}): {message}", ("name",))
        if layer.name is not None:
            names[layer.name] = number
    if not depth and (count := _count(layers)) > MAX_LAYERS:
        raise Invalid(f"must have at most {MAX_LAYERS} layers in all, not {count:,}")
    return layers


def stored_layers(documents: list[Mapping[str, Any]]) -> list[Layer]:
    """Return the layers of a stored spec without validating them again."""
    layers: list[Layer] = []
    for document in documents:
        kind = next(key for key in document if key in LAYERS)
        options = {"kind": kind, "name": None, **document}
        main = options.pop(kind)
        if (field := LAYERS[kind].main) is not None:
            options[field] = stored_layers(main) if kind == "residual" else main
        layers.append(LAYERS[kind].model_construct(**options))
    return layers


def _layer(written: object, number: str) -> Layer:
    if isinstance(written, Layer):
        return written
    document = {written: {}} if isinstance(written, str) else written
    if not isinstance(document, dict):
        raise Invalid(
            f'layer {number}: must be a name such as "relu", or a mapping such as {{"linear": 64}}'
        )
    kind = _kind(document, number)
    name = document.get("name")
    label = f"{kind} {name[:MAX_SHOWN]!r}" if isinstance(name, str) else kind
    with naming(number, label):
        options = _options(document, kind)
        if kind == "residual":
            with located_at("residual"):
                options["layers"] = read_layers(options["layers"], f"{number}.")
        return _parsed(kind, options)


def _kind(document: Mapping[Any, object], number: str) -> str:
    kinds = [key for key in document if key in LAYERS]
    if len(kinds) == 1:
        return str(kinds[0])
    if kinds:
        named = " and ".join(kinds)
        raise Invalid(f"layer {number}: names several layers, {named}; write them as one each")
    keys = [key for key in document if isinstance(key, str) and key != "name"]
    if "kind" in keys:
        raise Invalid(
            f'layer {number}: a layer has its kind as its key; write {{"linear": 64}} instead of '
            '{"kind": "linear", …}'
        )
    known = ", ".join(LAYERS)
    if not keys:
        raise Invalid(f"layer {number}: names no layer; known: {known}")
    key = keys[0]
    plain = key.lower().replace("-", "_")
    if plain in INSTEAD:
        raise Invalid(f"layer {number} ({key}): {INSTEAD[plain]}")
    meant = close_match(plain, [*LAYERS])
    advice = f"did you mean {meant}?" if meant else f"known: {known}"
    raise Invalid(f"layer {number}: unknown layer {key[:MAX_SHOWN]!r}; {advice}")


def _options(document: Mapping[str, object], kind: str) -> dict[str, Any]:
    """Return the options of a layer under their names."""
    layer = LAYERS[kind]
    main, options = document[kind], {key: document[key] for key in document if key != kind}
    if isinstance(main, dict):
        options |= main
    elif layer.main is not None:
        options[layer.main] = main
    elif main is not None:
        raise Misfit(f'takes no value; write "{kind}"', (kind,))
    fields = layer.model_fields
    needed = [n for n, field in fields.items() if field.is_required() and n != "kind"]
    if missing := [name for name in needed if name not in options]:
        raise Misfit(f"needs {' and '.join(missing)}; write for example {layer.example}")
    return options


def _parsed(kind: str, options: Mapping[str, Any]) -> Layer:
    layer = LAYERS[kind]
    if "kind" in options:
        raise Misfit("has its kind as its key; leave kind out", ("kind",))
    try:
        return parse(layer, {**options, "kind": kind})
    except Invalid as error:
        # Beyond the option there are tags of unions.
        option, *within = error.loc or (None,)
        if option is None:
            raise Misfit(error.msg) from None
        place = [step for step in within if isinstance(step, int)]
        raise Misfit(
            f"{option}: {error.msg}", (kind if option == layer.main else option, *place)
        ) from None


def _count(layers: list[Layer]) -> int:
    return sum(
        1 + (_count(layer.layers) if isinstance(layer, ResidualLayer) else 0) for layer in layers
    )
