"""What a person types."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from archive_testkit.documents import FACTS, pdf
from archive_testkit.system import ArchiveSystem


@pytest.fixture
def ingested(system: ArchiveSystem, client: httpx.Client, tmp_path: Path) -> Iterator[ArchiveSystem]:
    """The system with the almanac ingested by the command."""
    path = tmp_path / "almanac.pdf"
    path.write_bytes(pdf())
    assert "12 pages" in system.command("ingest", str(path))
    yield system
    for document in client.get("/v1/documents").json()["documents"]:
        if document["filename"] == path.name:
            client.delete(f"/v1/documents/{document['id']}")


def test_ask_names_file_and_page(ingested: ArchiveSystem) -> None:
    printed = ingested.command("ask", FACTS[3].question)
    assert f"almanac.pdf, page {FACTS[3].page}" in printed


def test_search_needs_no_model(ingested: ArchiveSystem) -> None:
    assert FACTS[4].sentence in " ".join(ingested.command("search", FACTS[4].question).split())


def test_status_tells_the_whole(system: ArchiveSystem) -> None:
    told = json.loads(system.command("status", "--json"))
    assert {"services", "streams", "engines"} <= set(told)


def test_second_up_finds_the_first(system: ArchiveSystem) -> None:
    assert system.url in system.command("up")


def test_foreign_entry_is_ingested(system: ArchiveSystem) -> None:
    text = "The keeper of the north gate is called Wilhelmina Tarr."
    # As the README shows it: any client, only type and data.
    server: Any = redis.Redis.from_url(system.run_info["bus_url"])  # pyright: ignore[reportUnknownMemberType]
    data = json.dumps({"text": text, "filename": "n.txt"})
    server.execute_command("XADD", "{ingress.default:0}", "*", "type", "document.ingest.v1", "data", data)
    server.close()
    assert any("Tarr" in system.command("search", "keeper of the north gate") for _ in range(200))


def test_tail_shows_decoded_messages(system: ArchiveSystem) -> None:
    told = system.command("streams", "--json")
    assert "documents.commands" in told
