"""Triton's client against a real server."""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from tests.conftest import LINE
from tests.system.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    url = str(server.client.base_url).removeprefix("http://").rstrip("/")
    with triton.InferenceServerClient(url, concurrency=64) as client:
        yield client


def expected(server: Server, model: str, rows: Any) -> list[dict[str, Any]]:
    answer = server.client.post("/predict", json={"model": model, "inputs": rows.tolist()})
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def tensor(name: str, array: np.ndarray, datatype: str, binary: bool) -> triton.InferInput:
    infer_input = triton.InferInput(name, list(array.shape), datatype)
    infer_input.set_data_from_numpy(array, binary_data=binary)
    return infer_input


def test_health_and_metadata(client: Any, small: str, plane: str) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(small)
    assert client.is_model_ready(small, "1")
    assert not client.is_model_ready(small, "99")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"] == "epochd"
    metadata = client.get_model_metadata(small, "1")
    assert metadata["inputs"] == [{"name": "inputs", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert [output["name"] for output in metadata["outputs"]] == ["probabilities", "class", "label"]
    config = client.get_model_config(plane)
    assert config["input"] == [{"name": "inputs", "data_type": "TYPE_FP32", "dims": [3]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_infer(
    server: Server,
    client: Any,
    small: str,
    pictures: np.ndarray,
    binary_in: bool,
    binary_out: bool | None,
) -> None:
    names = ("probabilities", "class", "label")
    outputs = (
        binary_out
        if binary_out is None
        else [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    )
    result = client.infer(
        small,
        [tensor("inputs", pictures, "UINT8", binary_in)],
        model_version="1",
        outputs=outputs,
        request_id="seven",
    )
    assert result.get_response()["id"] == "seven"
    assert result.get_response()["model_version"] == "1"
    answers = expected(server, small, pictures)
    probabilities = result.as_numpy("probabilities")
    assert probabilities.shape == (20, 10)
    assert probabilities == pytest.approx(np.array([a["probabilities"] for a in answers]), abs=1e-6)
    assert result.as_numpy("class").tolist() == [a["class"] for a in answers]
    labels = [x.decode() if isinstance(x, bytes) else x for x in result.as_numpy("label")]
    assert labels == [a["label"] for a in answers]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "FP16"])
def test_other_datatypes(client: Any, small: str, pictures: np.ndarray, datatype: str) -> None:
    kinds = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "FP16": np.float16}
    plain = client.infer(small, [tensor("inputs", pictures, "UINT8", True)])
    other = client.infer(
        small, [tensor("inputs", pictures.astype(kinds[datatype]), datatype, True)]
    )
    assert other.as_numpy("probabilities") == pytest.approx(plain.as_numpy("probabilities"))


def test_one_input_per_feature(server: Server, client: Any, plane: str) -> None:
    rows = np.random.default_rng(0).random((7, 3)).astype(np.float32)
    columns = [tensor(name, rows[:, [i]], "FP32", i == 1) for i, name in enumerate("abc")]
    result = client.infer(plane, columns)
    values = [answer["value"] for answer in expected(server, plane, rows)]
    assert result.as_numpy("value").ravel() == pytest.approx(np.array(values), abs=1e-6)


def test_classification(client: Any, small: str, pictures: np.ndarray) -> None:
    top_3 = triton.InferRequestedOutput("probabilities", binary_data=True, class_count=3)
    result = client.infer(small, [tensor("inputs", pictures, "UINT8", True)], outputs=[top_3])
    listed = result.as_numpy("probabilities")
    assert listed.shape == (20, 3)
    plain = client.infer(small, [tensor("inputs", pictures, "UINT8", True)])
    for row, probabilities in zip(listed, plain.as_numpy("probabilities"), strict=True):
        scores = [float(text.decode().split(":")[0]) for text in row]
        assert scores == pytest.approx(sorted(probabilities, reverse=True)[:3], abs=1e-6)
        assert int(row[0].decode().split(":")[1]) == probabilities.argmax()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_and_responses(
    client: Any, small: str, pictures: np.ndarray, algorithm: str
) -> None:
    inputs = [tensor("inputs", pictures, "UINT8", True)]
    plain = client.infer(small, inputs)
    packed = client.infer(
        small,
        inputs,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.array_equal(plain.as_numpy("class"), packed.as_numpy("class"))


def test_64_requests_in_flight(client: Any, small: str, pictures: np.ndarray) -> None:
    inputs = [tensor("inputs", pictures[:1], "UINT8", True)]
    running = [client.async_infer(small, inputs) for _ in range(256)]
    classes = {int(handle.get_result().as_numpy("class")[0]) for handle in running}
    assert len(classes) == 1


def test_repository(server: Server, client: Any, small: str) -> None:
    model = "comes-and-goes"
    server.run(LINE | {"name": model, "epochs": 1})
    inputs = [tensor("inputs", np.ones((1, 1), np.float32), "FP32", True)]

    def state() -> tuple[str, str]:
        index = client.get_model_repository_index()
        assert {"name": small, "version": "1", "state": "READY", "reason": ""} in index
        [entry] = [entry for entry in index if entry["name"] == model]
        return entry["state"], entry["reason"]

    for unload in ({}, {"unload_dependents": True}):
        assert client.infer(model, inputs).as_numpy("value").shape == (1, 1)
        assert state() == ("READY", "")
        client.unload_model(model, **unload)
        assert state() == ("UNAVAILABLE", "unloaded")
        assert not client.is_model_ready(model)
        assert not client.is_model_ready(model, "1")
        assert client.is_model_ready(small)
        with pytest.raises(
            InferenceServerException, match="'comes-and-goes' is unloaded"
        ) as caught:
            client.infer(model, inputs)
        assert caught.value.status() == "409"
        client.load_model(model)
        assert client.is_model_ready(model)
        assert client.is_model_ready(model, "1")
    for call in client.load_model, client.unload_model:
        with pytest.raises(InferenceServerException, match="no model 'nothing'"):
            call("nothing")


def test_statistics(client: Any, small: str, pictures: np.ndarray) -> None:
    def count() -> int:
        [stats] = client.get_inference_statistics(small, "1")["model_stats"]
        assert stats["inference_stats"]["compute_infer"]["ns"] > 0
        return int(stats["inference_count"])

    client.infer(small, [tensor("inputs", pictures, "UINT8", True)])
    before = count()
    client.infer(small, [tensor("inputs", pictures, "UINT8", True)])
    assert count() == before + 20
    names = {s["name"] for s in client.get_inference_statistics()["model_stats"]}
    assert small in names


def test_batch_statistics_by_size(client: Any, small: str, pictures: np.ndarray) -> None:
    def executed() -> dict[int, int]:
        [stats] = client.get_inference_statistics(small)["model_stats"]
        batches = stats["batch_stats"]
        for batch in batches:
            assert batch["compute_infer"]["ns"] > 0
            counts = {batch[f"compute_{part}"]["count"] for part in ("input", "infer", "output")}
            assert len(counts) == 1
        for figure in "count", "ns":
            total = sum(batch["compute_infer"][figure] for batch in batches)
            whole = stats["inference_stats"]["compute_infer"][figure]
            assert total == pytest.approx(whole, abs=len(batches))  # each rounded to nanoseconds
        return {batch["batch_size"]: batch["compute_infer"]["count"] for batch in batches}

    before = executed()
    many = np.concatenate([pictures] * 15)
    for array in (pictures[:3], pictures[:17], pictures[:3], many):
        client.infer(small, [tensor("inputs", array, "UINT8", True)])
    after = executed()
    assert list(after) == sorted(after)
    more = {size: count - before.get(size, 0) for size, count in after.items()}
    assert {size: count for size, count in more.items() if count} == {3: 2, 17: 1, 512: 1}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c, m: c.get_trace_settings(), "Not Found"),
        (lambda c, m: c.get_system_shared_memory_status(), "Not Found"),
        (lambda c, m: c.get_model_metadata("nothing"), "no model 'nothing'"),
        (lambda c, m: c.infer(m, [tensor("x", np.zeros((1, 3)), "FP64", True)]), "'inputs'"),
        (lambda c, m: c.infer(m, [tensor("inputs", np.zeros((1, 3)), "FP64", True)]), "1x3"),
        (lambda c, m: c.infer(m, [tensor("inputs", np.zeros((0, 784)), "FP64", True)]), "0x784"),
    ],
)
def test_client_reads_errors(client: Any, small: str, call: Any, says: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        call(client, small)
    assert says in error.value.message()


def body(data: object = (1, 2, 3), **changes: object) -> dict[str, object]:
    tensor = {"name": "inputs", "shape": [1, 3], "datatype": "FP32", "data": data}
    return {"inputs": [tensor | changes]}


FRACTIONAL = json.dumps(body(parameters={"binary_data_size": 12.0}, data=None))


@pytest.mark.parametrize(
    ("content", "headers", "says"),
    [
        (b"", {}, "not valid JSON"),
        (b"{", {}, "not valid JSON"),
        (b"[]", {}, "valid dictionary"),
        (b"{}", {}, "inputs"),
        (json.dumps(body([1, 2])), {}, "has 2 numbers"),
        (json.dumps(body([1, [2], 3])), {}, "different lengths"),
        (json.dumps(body(["1", "2", "3"])), {}, "values that are not numbers"),
        (json.dumps(body(shape=[2**39, 2**39])), {}, "rows per request allows"),
        (json.dumps(body(shape=[-1, 3])), {}, "greater than or equal"),
        (json.dumps(body(datatype="FP31")), {}, "choose one of BOOL"),
        (json.dumps(body(datatype="BYTES")), {}, "values that are not strings"),
        (
            json.dumps(body(["1", "2", "3"], datatype="BYTES")),
            {},
            "has datatype BYTES; the model takes",
        ),
        (json.dumps(body(["1", "2"], datatype="BYTES")), {}, "has 2 strings"),
        (json.dumps(body([1.5, 2, 3], datatype="INT8")), {}, "INT8 cannot represent"),
        (json.dumps(body([1e39, 2, 3])), {}, "not finite"),
        (json.dumps(body(parameters={"binary_data_size": 12}, data=None)), {}, "lacks 12 bytes"),
        (json.dumps(body(parameters={"binary_data_size": 11}, data=None)), {}, "12 bytes"),
        (FRACTIONAL + "x" * 12, {"Inference-Header-Content-Length": str(len(FRACTIONAL))}, "12.0"),
        (json.dumps(body() | {"parameters": {"pixels": []}}), {}, "0-255 or 0-1"),
        (json.dumps(body()) + "abc", {"Inference-Header-Content-Length": "999"}, "the body has"),
        (json.dumps(body()) + "abc", {"Inference-Header-Content-Length": "-1"}, "the body has"),
        (json.dumps(body()), {"Inference-Header-Content-Length": "x"}, "integer"),
        (json.dumps(body()), {"content-encoding": "br"}, "gzip or deflate"),
        (b"xx", {"content-encoding": "gzip"}, "not valid gzip"),
        (gzip.compress(b"{}" * 100, mtime=0)[:20], {"content-encoding": "gzip"}, "truncated"),
        (zlib.compress(b" " * 40_000_000), {"content-encoding": "deflate"}, "exceeds the limit"),
    ],
)
def test_invalid_requests_are_refused(
    server: Server, plane: str, content: bytes | str, headers: dict[str, str], says: str
) -> None:
    response = server.client.post(f"/v2/models/{plane}/infer", content=content, headers=headers)
    assert 400 <= response.status_code < 500, response.text
    assert set(response.json()) == {"error"}
    assert says in response.json()["error"]


@pytest.mark.parametrize(
    "changes", [{"parameters": None}, {"outputs": []}, {"outputs": None}, {"id": None}]
)
def test_empty_fields_change_nothing(
    server: Server, plane: str, changes: dict[str, object]
) -> None:
    url = f"/v2/models/{plane}/infer"
    plain = server.client.post(url, json=body()).json()
    assert plain["outputs"]
    assert server.client.post(url, json=body(parameters=None) | changes).json() == plain
    marked = json.dumps(body() | changes).encode("utf-8-sig")
    assert server.client.post(url, content=marked).json() == plain


RAW = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}


def test_raw_request_is_one_row(
    server: Server, small: str, plane: str, pictures: np.ndarray
) -> None:
    for model, row in ((small, pictures[0]), (plane, np.array([1, 2, 3], "<f4"))):
        answer = server.client.post(f"/v2/models/{model}/infer", content=row.tobytes(), headers=RAW)
        assert answer.status_code == 200, answer.text
        length = int(answer.headers["inference-header-content-length"])
        first = json.loads(answer.content[:length])["outputs"][0]
        size = first["parameters"]["binary_data_size"]
        values = np.frombuffer(answer.content[length : length + size], "<f4")
        [prediction] = expected(server, model, row[None])
        known = prediction.get("probabilities") or [prediction["value"]]
        assert values == pytest.approx(np.array(known), abs=1e-6)
        short = server.client.post(f"/v2/models/{model}/infer", content=b"abc", headers=RAW)
        assert (short.status_code, "has the binary_data_size 3" in short.text) == (400, True)


def test_json_responses_have_no_binary_header(server: Server, plane: str) -> None:
    response = server.client.post(f"/v2/models/{plane}/infer", json=body())
    assert "inference-header-content-length" not in response.headers
    [output] = response.json()["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("value", [1, 1], "FP32")
    assert len(output["data"]) == 1


def test_alias_is_served_as_a_model(server: Server, client: Any) -> None:
    server.run(LINE | {"name": "protocol-line"})
    server.client.put("/models/protocol-line/aliases/good", json={"version": 1})
    assert client.is_model_ready("protocol-line@good")
    assert not client.is_model_ready("protocol-line@bad")
