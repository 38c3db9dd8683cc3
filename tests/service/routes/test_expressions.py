"""Tensor expressions and gradients over HTTP, as in the tutorial's first two sections."""

import asyncio
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.errors import Overloaded
from service.expressions.evaluator import MAX_WAITING, ExpressionEvaluator, ExpressionRequest


def results(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    response = client.post("/expressions", json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def test_result_has_value_dtype_shape_and_view(client: TestClient) -> None:
    (result,) = results(
        client, expression="x**2 + y**3 + 10", variables={"x": 2.0, "y": 3.0}, gradients=True
    )
    graph = result.pop("graph")
    assert result == {
        "expression": "x**2 + y**3 + 10",
        "name": None,
        "value": 41.0,
        "shape": [],
        "dtype": "float32",
        "is_view": False,
        "view_of": None,
        "requires_grad": True,
        "gradients": {"x": 4.0, "y": 27.0},
    }
    assert graph["nodes"][0] == {
        "id": 0,
        "op": "AddBackward0",
        "symbol": "+",
        "text": "x**2 + y**3 + 10",
        "variable": None,
    }
    assert {node["variable"] for node in graph["nodes"]} == {"x", "y", None}
    assert {"source": 1, "target": 0} in graph["edges"]


def test_gradients_accumulate_over_expressions(client: TestClient) -> None:
    body: dict[str, Any] = {"variables": {"x": 5}, "gradients": True}
    kept = results(client, expressions=["x**2", "x**3"], **body)
    zeroed = results(client, expressions=["x**3", "2*x"], zero_grad=True, **body)
    assert [r["gradients"]["x"] for r in kept] == [10, 85]
    assert [r["gradients"]["x"] for r in zeroed] == [75, 2]


def test_non_finite_results_are_valid_json(client: TestClient) -> None:
    (result,) = results(client, expression="x / 0", variables={"x": [1.0, -1.0, 0.0]})
    assert result["value"] == ["Infinity", "-Infinity", "NaN"]


def test_random_numbers_have_a_seed(client: TestClient) -> None:
    one, again, other = (results(client, expression="rand(3)", seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_every_openapi_example_succeeds(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/expressions"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    values = {name: results(client, **e["value"])[-1] for name, e in examples.items()}
    assert values["A matrix product"]["value"] == [[5, 11], [11, 25]]
    assert values["Broadcasting"]["value"] == [[11, 22], [13, 24]]
    assert values["Gradients of vectors"]["gradients"] == {"a": [6, 8], "b": [2, 4]}
    assert values["Views"]["view_of"] == "x"


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        ({}, [], "exactly one of expression and expressions"),
        ({"expression": "1", "expressions": ["1"]}, [], "exactly one"),
        ({"expression": 1}, ["expression"], "string"),
        ({"expressions": []}, ["expressions"], "at least 1"),
        ({"expressions": ["1"] * 21}, ["expressions"], "at most 20"),
        ({"expression": "1", "seed": -1}, ["seed"], "greater than or equal to 0"),
        ({"expression": "1", "gradients": 1}, ["gradients"], "boolean"),
        ({"expression": "1", "gradients": ["x"] * 51}, ["gradients"], "at most 50"),
        ({"expression": "1", "gradients": ["x"]}, ["gradients", 0], "'x' is not a variable"),
        ({"expression": "1", "loops": 3}, ["loops"], "unknown field; known: "),
        ({"expression": ""}, ["expression"], "empty"),
        ({"expression": "x."}, ["expression"], "syntax error"),
        ({"expression": "__import__('os')"}, ["expression"], "unknown function '__import__'"),
        ({"expressions": ["1", "y"]}, ["expressions", 1], "column 1: unknown name 'y'"),
        ({"expression": "x", "variables": {"x": "1"}}, ["variables", "x"], "not the string"),
        ({"expression": "x", "variables": {"x": [[1], [1, 2]]}}, ["variables", "x", 1], "lengths"),
        ({"expression": "x", "variables": {"a b": 1}}, ["variables", "a b"], "cannot be used as"),
        (
            {"expression": "[[1,2],[3,4]] @ [1,2,3]"},
            ["expression"],
            "cannot multiply (2, 2) @ (3): the inner sizes must match, and 2 is not 3",
        ),
        (
            {"expression": "x * 2", "variables": {"x": [1, 2]}, "gradients": True},
            ["expression"],
            "reduce it by sum(...)",
        ),
        ({"expression": "zeros(10**9)"}, ["expression"], "1,000,000 are allowed"),
        ({"expression": "zeros(1000, 1000)"}, ["expression"], "10,000 are shown"),
    ],
)
def test_invalid_requests_name_the_field(
    client: TestClient, body: dict[str, Any], loc: list[str | int], says: str
) -> None:
    response = client.post("/expressions", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    (error,) = [e for e in response.json()["errors"] if says in e["msg"]]
    assert error["loc"] == ["body", *loc]


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "9" * 1000])
def test_numbers_pytorch_cannot_represent_are_refused(client: TestClient, number: str) -> None:
    body = f'{{"expression": "x", "variables": {{"x": [{number}]}}}}'
    headers = {"content-type": "application/json"}
    response = client.post("/expressions", content=body, headers=headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "variables", "x", 0]


def test_requests_over_the_queue_limit_are_refused() -> None:
    request = ExpressionRequest(expression="rand(1000, 1000).sum()")

    async def ask() -> list[bytes | BaseException]:
        expressions = ExpressionEvaluator()
        answers = [expressions.evaluate(request) for _ in range(MAX_WAITING + 1)]
        try:
            return await asyncio.gather(*answers, return_exceptions=True)
        finally:
            expressions.close()

    *answers, refused = asyncio.run(ask())
    assert len({str(answer) for answer in answers}) == 1
    assert isinstance(refused, Overloaded)
