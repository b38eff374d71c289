"""Processes and servers are killed in the middle of work; the work still ends right, and once."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping

import httpx
import pytest

from archive_testkit.documents import FACTS, pdf
from archive_testkit.jobs import ended
from archive_testkit.system import ArchiveSystem
from archive_testkit.waiting import wait_for

PAGES = 60


@pytest.fixture
def http(processes: ArchiveSystem) -> Iterator[httpx.Client]:
    """An HTTP client that outlives restarts of what is behind the gateway."""
    with httpx.Client(base_url=processes.url, timeout=60) as client:
        yield client


def wait_ready(system: ArchiveSystem, http: httpx.Client, old_pid: int, name: str) -> None:
    """Wait until a process that was killed is back."""
    wait_for(
        lambda: system.pid_of(name) != old_pid and http.get("/readyz").status_code == 200,
        despite=(httpx.HTTPError, StopIteration, ValueError),
    )


def asked_again(http: httpx.Client, body: Mapping[str, object]) -> int:
    """Ask as a client does that obeys retry-after."""
    for _ in range(5):
        reply = http.post("/v1/chat/completions", json=body)
        if reply.status_code != 503:
            return reply.status_code
        time.sleep(float(reply.headers["retry-after"]))
    return 503


@pytest.mark.parametrize("victim", ["librarian", "memory", "engine-embed", "router", "bus", "state"])
def test_ingest_survives_a_kill(processes: ArchiveSystem, http: httpx.Client, victim: str) -> None:
    content = pdf(pages=PAGES, title=f"killed {victim}", dense=8)
    job_id = http.post("/v1/documents", files={"file": (f"{victim}.pdf", content)}).json()["job_id"]
    time.sleep(0.7)
    old = processes.kill(victim)
    job = ended(http, job_id)
    wait_ready(processes, http, old, victim)
    assert (job["status"], job["pages"]) == ("done", PAGES)
    document = http.get(f"/v1/documents/{job['document_id']}").json()
    assert document["chunks"] == job["chunks"]
    found = http.post("/library/search", json={"query": FACTS[0].question, "top_k": 50}).json()["chunks"]
    ours = [chunk["chunk_id"] for chunk in found if chunk["document_id"] == job["document_id"]]
    assert ours
    assert len(ours) == len(set(ours))
    http.delete(f"/v1/documents/{job['document_id']}")


@pytest.mark.parametrize("victim", ["router", "engine-small", "model", "agent", "state", "bus"])
def test_chat_ends_when_a_process_is_killed(processes: ArchiveSystem, http: httpx.Client, victim: str) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Count to one hundred."}], "max_tokens": 150}
    lines: list[str] = []

    def talk() -> None:
        try:
            with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as reply:
                lines.append(f"status {reply.status_code}")
                lines.extend(reply.iter_lines())
        except httpx.HTTPError as error:
            lines.append(f"broken {error!r}")
        lines.append("end")

    talking = threading.Thread(target=talk)
    talking.start()
    time.sleep(1.0)
    old = processes.kill(victim)
    talking.join(60)
    assert lines[-1] == "end", "the chat hangs"
    told = "\n".join(lines)
    assert "data: [DONE]" in told or '"error"' in told
    wait_ready(processes, http, old, victim)
    assert asked_again(http, body | {"max_tokens": 5}) == 200


@pytest.mark.parametrize("server", ["bus", "state"])
def test_absent_server_is_said_at_once(processes: ArchiveSystem, http: httpx.Client, server: str) -> None:
    pid = processes.pid_of(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        reply = http.post(
            "/v1/chat/completions", json={"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    assert reply.status_code == 503
    assert float(reply.headers["retry-after"]) > 0
    wait_ready(processes, http, -1, server)
