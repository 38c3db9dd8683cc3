"""A client that openapi-python-client generates from the OpenAPI description.

The tool is not installed by `make`, since it needs an older typer than epochd's. Where it is on the
path, this test uses it.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LINE
from tests.system.server import serving

TOOL = shutil.which("openapi-python-client")
USE = """
import sys
from client import Client
from client.api.jobs import get_job, list_jobs, submit_job
from client.api.models import evaluate_model, list_model_versions
from client.api.predict import predict
from client.models import EvaluationRequest, JobRequest, JobStatus, PredictRequest, ProblemDocument

url, body = sys.argv[1:]
client = Client(base_url=url, timeout=120)
request = JobRequest.from_dict(__import__("json").loads(body))
job = submit_job.sync(client=client, body=request, wait=60)
assert job.status == JobStatus.SUCCEEDED, job
assert get_job.sync(job.id, client=client).spec.epochs == 1
page = list_jobs.sync(client=client, status=[JobStatus.SUCCEEDED, JobStatus.FAILED])
assert [each.id for each in page.data] == [job.id]
name, version = job.model.name, job.model.version
assert list_model_versions.sync(name, client=client).data[0].version == version
evaluation = evaluate_model.sync(name, version, client=client, body=EvaluationRequest())
assert evaluation.rows > 0, evaluation
rows = PredictRequest(model=name, inputs=[[4.0]])
assert predict.sync(client=client, body=rows).version == version
missing = get_job.sync("job_x", client=client)
assert isinstance(missing, ProblemDocument) and missing.status == 404, missing
print("used")
"""


@pytest.mark.skipif(TOOL is None, reason="openapi-python-client is not on the path")
def test_a_generated_client_trains_evaluates_and_predicts(tmp_path: Path) -> None:
    assert TOOL is not None
    with serving(tmp_path / "data", trainers=1) as server:
        document = server.client.get("/openapi.json").raise_for_status().json()
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        (tmp_path / "config.yml").write_text("post_hooks: []\n")
        command = [TOOL, "generate", "--path", "openapi.json", "--config", "config.yml"]
        command += ["--meta", "none", "--output-path", "client"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        said = made.stdout + made.stderr
        # Of the many kinds of file that `/predict` takes, the tool knows a few.
        assert set(re.findall("WARNING parsing (.*) within", said)) <= {"POST /predict"}, said
        assert "will not be generated" not in said
        files = {file.name for file in (tmp_path / "client/api").rglob("*.py")} - {"__init__.py"}
        assert len(files) == sum(map(len, document["paths"].values()))
        arguments = [sys.executable, "-c", USE, str(server.client.base_url)]
        arguments.append(json.dumps(LINE | {"epochs": 1}))
        used = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert used.stdout == "used\n", used.stderr
