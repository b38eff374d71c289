"""One trace over all hops of a question."""

import time

import httpx

from archive_testkit.jobs import ended
from archive_testkit.otlp import OtlpReceiver
from archive_testkit.system import ArchiveSystem

HOPS = {"gateway", "agent", "memory", "router", "engine"}


def test_question_is_one_trace(all_in_one: ArchiveSystem, otlp: OtlpReceiver) -> None:
    with httpx.Client(base_url=all_in_one.url, timeout=120) as http:
        text = b"The weaver of Corrin Street is called Adela Munk. " * 3
        job_id = http.post("/v1/documents", files={"file": ("weaver.txt", text)}).json()["job_id"]
        assert ended(http, job_id)["status"] == "done"
        http.post("/research", json={"question": "Who is the weaver of Corrin Street?"})
    until = time.monotonic() + 20
    services: set[str] = set()
    while time.monotonic() < until and not services >= HOPS:
        services = {service for service, _ in otlp.trace("process agent.commands", "agent")}
        time.sleep(0.2)
    assert services >= HOPS
