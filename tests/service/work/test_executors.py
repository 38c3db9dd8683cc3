"""One kind of work never waits for another."""

import threading
from concurrent.futures import wait

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.conftest import LINE


def test_jobs_are_served_while_every_thread_for_clients_work_is_taken(settings: Settings) -> None:
    release = threading.Event()
    app = create_app(settings)
    with TestClient(app) as client:
        work = app.components.work
        taken = [pool.submit(release.wait) for pool in (work.decode, work.bulk) for _ in range(50)]
        try:
            job = client.post("/jobs", json=LINE).raise_for_status().json()
            assert client.get(f"/jobs/{job['id']}").json()["status"] == "queued"
            assert client.get("/v2/models/stats").json() == {"model_stats": []}
            assert client.post(f"/jobs/{job['id']}/cancel").status_code == 202
            with client.stream("GET", f"/jobs/{job['id']}/events") as events:
                assert "cancelled" in "".join(events.iter_text())
        finally:
            release.set()
        wait(taken)
