"""An installation is saved while it runs and lives on in an empty one; the doctor finds both sound."""

import json
from pathlib import Path
from typing import Any

import httpx

from archive_testkit.jobs import ended
from archive_testkit.system import ArchiveSystem

TEXT = b"The clockmaker of Tarn Lane is called Osric Vale. He mends tower clocks. " * 3


def ingested(http: httpx.Client) -> dict[str, Any]:
    job_id = http.post("/v1/documents", files={"file": ("clocks.txt", TEXT)}).json()["job_id"]
    job = ended(http, job_id)
    assert job["status"] == "done", job
    return job


def test_running_system_is_sound(processes: ArchiveSystem) -> None:
    told = json.loads(processes.command("doctor", "--json"))
    failed = [found for found in told["findings"] if found["level"] == "failure"]
    assert failed == []
    assert {"bus server", "bus access", "groups", "lag", "disk", "blobs", "engines", "clock"} <= {
        found["check"] for found in told["findings"]
    }


def test_backup_fills_an_empty_installation(processes: ArchiveSystem, tmp_path: Path) -> None:
    with httpx.Client(base_url=processes.url, timeout=60) as http:
        job = ingested(http)
    processes.command("backup", str(tmp_path / "backup.tar"))
    processes.command("restore", str(tmp_path / "backup.tar"), "--home", str(tmp_path / "new"))
    restored = ArchiveSystem(tmp_path / "new", options=("--all-in-one", "--no-model")).start()
    try:
        with httpx.Client(base_url=restored.url, timeout=60) as http:
            assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "done"
            found = http.post("/library/search", json={"query": "Who mends tower clocks?", "top_k": 1}).json()["chunks"]
            assert found[0]["document_id"] == job["document_id"]
            assert "Osric Vale" in found[0]["text"]
    finally:
        restored.stop()
