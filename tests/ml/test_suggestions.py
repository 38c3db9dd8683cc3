"""Suggestions are read off the specs, whatever they are."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from ml.errors import Invalid
from ml.strict import ByKind, Strict, as_validation_error, parse
from ml.suggestions import MAX_NAME, advice, close_match


class Round(Strict):
    kind: Literal["round", "oval"] = "round"
    radius: float = Field(default=1.0, description="Distance to the edge.")


class Square(Strict):
    kind: Literal["square"] = "square"
    side: float


class Paint(Strict):
    colour: str = "red"


class Drawing(Strict):
    shape: Annotated[Round | Square, ByKind()] = Round()
    paint: Paint | None = None
    title: str = ""


@pytest.mark.parametrize(
    ("spec", "name", "says"),
    [
        (Drawing, "radius", "radius belongs in shape"),
        (Drawing, "kind", "kind belongs in shape"),
        (Drawing, "colour", "colour belongs in paint"),
        (Drawing, "titel", "unknown field; did you mean title?"),
        (Drawing, "TITLE", "unknown field; did you mean title?"),
        (Drawing, "ti", "unknown field; did you mean title?"),
        (Drawing, "distance_to", "unknown field; did you mean radius in shape?"),
        (Drawing, "distance", "unknown field; known: paint, shape, title"),
        (Drawing, "x", "unknown field; known: paint, shape, title"),
        (Drawing, "radius" * 10**6, "unknown field; known: paint, shape, title"),
        (Round, "side", "side is a field of square, not of round and oval"),
        (Square, "radius", "radius is a field of round and oval, not of square"),
        (Round, "title", "title belongs beside shape, not in it"),
        (Paint, "radius", "radius belongs in shape, not in paint"),
    ],
)
def test_advice_names_the_place_or_the_meaning(spec: type[Strict], name: str, says: str) -> None:
    assert advice(name, spec, Strict) == says


def test_errors_carry_the_advice_beside_all_others() -> None:
    with pytest.raises(Invalid, match="radius belongs in shape") as caught:
        parse(Drawing, {"radius": 3})
    assert caught.value.loc == ("radius",)
    with pytest.raises(ValidationError) as both:
        Drawing.model_validate({"title": 3, "titel": "a", "other": 3})
    assert [error["loc"] for error in both.value.errors()] == [("title",), ("titel",)]


def test_bare_names_stand_for_defaults() -> None:
    assert parse(Drawing, {"shape": "oval"}).shape == Round(kind="oval")
    for shape, says in {
        "square": 'square needs side; write {"kind": "square", "side": …}',
        "sqare": "unknown 'kind' 'sqare'; did you mean 'square'? known: 'round', 'oval', 'square'",
        "z" * 10**6: f"unknown 'kind' '{'z' * 60}'; known: 'round', 'oval', 'square'",
    }.items():
        with pytest.raises(Invalid) as caught:
            parse(Drawing, {"shape": shape})
        assert caught.value.msg == says
    with pytest.raises(Invalid, match="needs a kind, one of round, oval, square"):
        parse(Drawing, {"shape": {"radius": 3}})


def test_own_errors_keep_their_place() -> None:
    error = as_validation_error(Invalid("is {odd}", ("a", 3)))
    [found] = error.errors()
    assert (found["loc"], found["msg"]) == (("a", 3), "is {odd}")


def test_long_names_are_not_compared() -> None:
    assert close_match("a" * MAX_NAME, ["a" * MAX_NAME]) == "a" * MAX_NAME
    assert close_match("a" * (MAX_NAME + 1), ["a" * MAX_NAME]) is None
