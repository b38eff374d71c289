"""From a file to a cited answer."""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from archive_testkit.documents import FACTS, UNKNOWN, docx, pdf
from archive_testkit.jobs import ended
from archive_testkit.system import ArchiveSystem

ALMANAC = pdf()


def upload(client: httpx.Client, name: str, content: bytes) -> dict[str, Any]:
    reply = client.post("/v1/documents", files={"file": (name, content)})
    assert reply.status_code == 202, reply.text
    return reply.json()


def research(client: httpx.Client, question: str) -> dict[str, Any]:
    return client.post("/research", json={"question": question, "use_memory": False}).json()


@pytest.fixture
def almanac(client: httpx.Client) -> Iterator[str]:
    """The document with the known facts."""
    job = ended(client, upload(client, "almanac.pdf", ALMANAC)["job_id"])
    assert (job["status"], job["pages"]) == ("done", 12)
    yield job["document_id"]
    client.delete(f"/v1/documents/{job['document_id']}")


def test_right_page_comes_first(client: httpx.Client, almanac: str) -> None:
    first = [research(client, fact.question)["sources"][0] for fact in FACTS]
    right = [source["page"] == fact.page for source, fact in zip(first, FACTS, strict=True)]
    assert sum(right) >= 8
    assert {source["document_id"] for source in first} == {almanac}


def test_unknown_is_said_to_be_unknown(client: httpx.Client, almanac: str) -> None:
    answer = research(client, UNKNOWN)
    assert answer["success"]
    assert "nothing about this" in answer["answer"]
    assert not any(source["cited"] for source in answer["sources"])


def test_cited_sources_are_referred_to(client: httpx.Client, almanac: str) -> None:
    answer = research(client, FACTS[0].question)
    cited = [number for number, source in enumerate(answer["sources"], 1) if source["cited"]]
    assert all(f"Source {number}" in answer["answer"] for number in cited)
    assert answer["engine"].startswith("bundled")


def test_streamed_research_sends_sources_first(client: httpx.Client, almanac: str) -> None:
    question = {"question": FACTS[1].question, "stream": True}
    with client.stream("POST", "/research", json=question) as reply:
        events = [line.removeprefix("event: ") for line in reply.iter_lines() if line.startswith("event: ")]
    assert events[0] == "source"
    assert events[-1] == "done"
    assert "delta" in events
    assert events.index("delta") > max(place for place, name in enumerate(events) if name == "source")


def test_same_content_is_one_document(client: httpx.Client, almanac: str) -> None:
    before = client.get("/v1/documents").json()["total"]
    again = upload(client, "copy.pdf", ALMANAC)
    job = ended(client, again["job_id"])
    assert again["document_id"] == almanac
    assert (job["status"], job["duplicate"]) == ("done", True)
    assert client.get("/v1/documents").json()["total"] == before


def test_docx_is_read(client: httpx.Client) -> None:
    job = ended(client, upload(client, "almanac.docx", docx(FACTS[:3]))["job_id"])
    assert job["status"] == "done"
    found = client.post("/library/search", json={"query": FACTS[2].question, "top_k": 3}).json()
    assert any(FACTS[2].sentence in chunk["text"] for chunk in found["chunks"])
    assert client.delete(f"/v1/documents/{job['document_id']}").status_code == 200


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("broken.pdf", b"%PDF-1.7\nthis is no body", "corrupt"),
        ("picture.bin", bytes(range(256)) * 20, "unsupported_format"),
        ("fake.docx", b"PK\x03\x04" + b"\x00" * 200, "corrupt"),
    ],
)
def test_refused_file_says_why(client: httpx.Client, name: str, content: bytes, code: str) -> None:
    accepted = upload(client, name, content)
    job = ended(client, accepted["job_id"])
    assert (job["status"], job["error"]["code"]) == ("failed", code)
    assert job["error"]["next_step"]
    document = client.get(f"/v1/documents/{accepted['document_id']}").json()
    assert (document["status"], document["error"]["code"]) == ("failed", code)


def test_job_events_are_followed_to_the_end(client: httpx.Client) -> None:
    accepted = upload(client, "notes.txt", b"The harbour master keeps three dogs. " * 50)
    with client.stream("GET", f"/v1/jobs/{accepted['job_id']}/events") as reply:
        jobs = [json.loads(line.removeprefix("data: ")) for line in reply.iter_lines() if line.startswith("data: {")]
    assert jobs[-1]["status"] == "done"
    assert all(before["progress"] <= after["progress"] for before, after in pairwise(jobs))


def test_job_is_cancelled(client: httpx.Client) -> None:
    text = "\n".join(f"Entry {number}: the ledger of house {number} was closed in spring." for number in range(30_000))
    accepted = upload(client, "ledger.txt", text.encode())
    assert client.delete(f"/v1/jobs/{accepted['job_id']}").status_code == 200
    job = ended(client, accepted["job_id"])
    assert job["status"] == "cancelled"


def test_dropped_file_is_ingested(system: ArchiveSystem, client: httpx.Client) -> None:
    (system.home / "Library-Drop" / "dropped.md").write_text("# Drop\n\nThe ferryman of Aldmere is called Osk.\n")
    until = time.monotonic() + 30
    found: list[dict[str, Any]] = []
    while time.monotonic() < until:
        found = client.post("/library/search", json={"query": "ferryman of Aldmere", "top_k": 1}).json()["chunks"]
        if found and "Osk" in found[0]["text"]:
            break
        time.sleep(0.2)
    assert found[0]["filename"] == "dropped.md"


def test_question_without_documents_says_what_to_do(system: ArchiveSystem, client: httpx.Client) -> None:
    del system
    for document in client.get("/v1/documents").json()["documents"]:
        client.delete(f"/v1/documents/{document['id']}")
    answer = client.post("/research", json={"question": "What is in the almanac?", "use_memory": False}).json()
    assert not answer["success"]
    assert "archive ingest" in str(answer["error"])
