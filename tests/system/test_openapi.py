"""Responses to generated requests match the service's OpenAPI description."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import LINE, PLANE
from tests.system.server import PATIENCE, serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXCLUDED = (
    # The stream has no end while a job is queued.
    "/jobs/{job_id}/events",
    # Later requests for an unloaded model would fail.
    "/v2/repository/models/{name}/unload",
)


def assert_conforms(directory: Path, phases: str, examples: int) -> str:
    """Send requests generated from the description to a service with models; return the report."""
    with serving(directory, trainers=1) as server:
        for spec in (LINE, PLANE):
            server.run(spec | {"epochs": 1})
    # Without trainers, submitted jobs stay queued. The key of an admin opens every route.
    key_file = directory / "admin.key"
    with serving(directory, trainers=0, admin_key_file=key_file) as server:
        authorization = f"Bearer {key_file.read_text().strip()}"
        # The description is made when it is first asked for, and schemathesis waits 10 seconds.
        server.client.headers["Authorization"] = authorization
        # Without trainers, no job ends: none of the requests is to wait for that.
        (directory / "schemathesis.toml").write_text('[parameters]\n"query.wait" = 0\n')
        paths = server.client.get("/openapi.json").raise_for_status().json()["paths"]
        command = [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            f"{server.client.base_url}/openapi.json",
            f"--checks={','.join(CHECKS)}",
            f"--phases={phases}",
            f"--max-examples={examples}",
            "--seed=1",
            f"--request-timeout={PATIENCE}",
            f"--header=Authorization: {authorization}",
            *(f"--exclude-path={path}" for path in EXCLUDED),
        ]
        found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    assert found.returncode == 0, found.stdout + found.stderr
    tested = sum(len(operations) for path, operations in paths.items() if path not in EXCLUDED)
    assert f"Tested: {tested}" in found.stdout
    return found.stdout


def test_responses_match_the_openapi_description(tmp_path: Path) -> None:
    """Random requests are left to the soak test: these are the boundaries of each parameter."""
    assert_conforms(tmp_path, "examples,coverage", 1)
