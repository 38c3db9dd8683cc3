"""Makes the artifacts in this folder, in a checkout of the version that is to have made them.

git worktree add EARLIER 763fc02
cd EARLIER && python PATH/OF/make.py PATH/OF/THIS/FOLDER
"""

import contextlib
import io
import json
import shutil
import sqlite3
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

from fastapi.testclient import TestClient
from PIL import Image

from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.routes.test_charts import run

LIFT, VIEW = ("true", "false", ""), ("lake", "", "yard ", "-")
HOMES = "zip,floor,lift,view,note,built,price\n" + "".join(
    f"{8000 + i % 3},{i % 5 or 'NA'},{LIFT[i % 3]},{VIEW[i % 4]},"
    f"{'-99' if i % 7 == 0 else i / 2},1999,{100 + 10 * (i % 5) + i % 3}\n"
    for i in range(40)
)
TARGETS = {"homes": "price", "views": "view"}
JOBS: dict[str, dict[str, Any]] = {
    "homes": {"dataset": {"features": {"zip": "categorical", **dict.fromkeys(["floor", "lift"])}}},
    "views": {"model": {"kind": "mlp", "hidden": [4], "embedding": 2}},
    "marks": {"model": {"kind": "mlp", "hidden": [4]}},
}
ROWS = {
    "homes": [[8001, 2, True], ["8002", None, None], {"zip": "none", "floor": 1, "lift": False}],
    "views": [[8001, 2, True, 4.5, 1999, 110], [None, None, None, None, None, None]],
    "marks": [[[i + j for j in range(6)] for i in range(5)]],
}
PLANE = {
    "kind": "synthetic",
    "features": {"a": {"uniform": [0, 1]}, "b": {"uniform": [0, 1]}},
    "target": "3*a - b",
    "size": 50,
}


def marks() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(12):
            image = io.BytesIO()
            Image.new("L", (6, 5), 20 * i).save(image, "PNG")
            archive.writestr(f"{'dark' if i < 6 else 'light'}/{i}.png", image.getvalue())
    return file.getvalue()


def main(into: Path) -> None:
    settings = Settings(data_dir=Path(tempfile.mkdtemp()) / "data", trainers=0)
    answers: dict[str, Any] = {}
    with TestClient(create_app(settings)) as client:
        attempts = AttemptStore(Database(settings.sqlalchemy_url), settings)
        for name, job in JOBS.items():
            content = marks() if name == "marks" else HOMES.encode()
            (into / f"{name}.upload").write_bytes(content)
            query = {"name": name, "missing": "-"} | (
                {"target": TARGETS[name]} if name in TARGETS else {}
            )
            upload = client.post("/datasets", params=query, content=content)
            dataset = upload.raise_for_status().json()
            body = job | {
                "name": name,
                "epochs": 5,
                "dataset": {"kind": "upload", "id": dataset["id"], **job.get("dataset", {})},
            }
            answers[name] = {"dataset": dataset} | finish(client, attempts, settings, body)
        plane = {"name": "plane", "dataset": PLANE, "epochs": 5}
        answers["plane"] = finish(client, attempts, settings, plane)
    for kind in ("models", "datasets/uploads"):
        target = into / kind
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(settings.data_dir / kind, target, ignore=shutil.ignore_patterns(".*"))
    with contextlib.closing(sqlite3.connect(settings.data_dir / "epochd.db")) as connection:
        (into / "database.sql").write_text("\n".join(connection.iterdump()) + "\n")
    (into / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


def finish(client: Any, attempts: Any, settings: Settings, job: dict[str, Any]) -> dict[str, Any]:
    """Run a job, and return what the service answers about its model."""
    job_id = run(client, attempts, settings, job)
    name = job["name"]
    rows = ROWS.get(name, [[0.5, 0.25]])
    predicted = client.post("/predict", json={"model": name, "inputs": rows}).raise_for_status()
    evaluated = client.get(f"/models/{name}/versions/1/evaluation").raise_for_status()
    return {
        "job_id": job_id,
        "inputs": rows,
        "predictions": predicted.json()["predictions"],
        "evaluation": evaluated.json(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
