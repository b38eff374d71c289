"""The watched folder of a running librarian: from a dropped file to where it ends."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from librarian_peers import Gateway, Memory, pdf

from archive_contracts.streams import JOBS_JOURNAL
from archive_telemetry import App
from archive_testkit.peers import BusAs
from archive_testkit.waiting import eventually

TEXT = b"The gates of the harbour shut at nine.\n"
EVERY_S = 0.05


class Folder:
    """A watched folder as its user sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def drop(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def write_more(self, name: str, content: bytes) -> None:
        with (self.root / name).open("ab") as file:
            file.write(content)

    def move(self, name: str, to: str) -> None:
        target = self.root / to
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).rename(target)

    def files(self, below: str = "") -> list[str]:
        # Unlike rglob, a walk takes no offence at folders that vanish under it.
        found = (Path(folder) / name for folder, _, names in os.walk(self.root / below) for name in names)
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def content(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def job_of(self, name: str) -> str:
        """The job that has claimed a file."""
        claimed = [path for path in self.files(".work") if path.endswith(f"/{name}")]
        return claimed[0].split("/")[1] if claimed else ""

    async def until(self, *files: str) -> None:
        """Wait until these files, and no others, are there; a month's folder of the archive is written ``*``."""
        wanted = sorted(files)
        try:
            await eventually(lambda: self._without_dates() == wanted)
        except AssertionError:
            raise AssertionError(self.files()) from None

    def _without_dates(self) -> list[str]:
        return sorted(
            "/".join(["archive", "*", *path.split("/")[3:]]) if path.startswith("archive/") else path
            for path in self.files()
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "drop")


@pytest.fixture
def watching(start: Callable[..., App], folder: Folder) -> Callable[..., App]:
    def wired(**chosen: Any) -> App:
        return start(**{"watch_dir": folder.root, "watch_every_s": EVERY_S} | chosen)

    return wired


Watching = Callable[..., App]


async def test_dropped_file_is_ingested_and_archived(watching: Watching, folder: Folder, memory: Memory) -> None:
    async with watching(watch_tenant="acme").lifespan():
        folder.drop("a.txt", TEXT)
        folder.drop("reports/b.pdf", pdf(2))
        await folder.until("archive/*/a.txt", "archive/*/reports/b.pdf")
    assert {part.filename for part in memory.batches} == {"a.txt", "b.pdf"}
    assert memory.tenants == {"acme"}
    (archived,) = [name for name in folder.files("archive") if name.endswith("a.txt")]
    assert folder.content(archived) == TEXT


async def test_job_of_dropped_file_can_be_followed(
    watching: Watching, folder: Folder, gateway: Gateway, memory: Memory
) -> None:
    async with watching().lifespan():
        folder.drop("a.txt", TEXT)
        await folder.until("archive/*/a.txt")
    job = await gateway.job(memory.batches[0].job_id)
    entries = await gateway.bus.journal(JOBS_JOURNAL, job.id)
    assert (job.status, job.kind, job.filename) == ("done", "ingest", "a.txt")
    assert job.document_id == memory.batches[0].document_id
    assert {entry.envelope.tenant for entry in entries} == {"default"}


async def test_same_content_goes_to_duplicates(watching: Watching, folder: Folder, memory: Memory) -> None:
    async with watching().lifespan():
        folder.drop("a.txt", TEXT)
        await folder.until("archive/*/a.txt")
        folder.drop("b.txt", TEXT)
        folder.drop("deep/a.txt", TEXT)
        await folder.until("archive/*/a.txt", "duplicates/b.txt", "duplicates/deep/a.txt")
    assert len(memory.batches) == 1


@pytest.mark.usefixtures("memory")
async def test_refused_file_lies_beside_its_reason(watching: Watching, folder: Folder) -> None:
    async with watching().lifespan():
        folder.drop("bad.pdf", b"%PDF-1.7\n" + b"garbage " * 50)
        folder.drop("empty.txt", b"")
        await folder.until(
            "failed/bad.pdf", "failed/bad.pdf.error.json", "failed/empty.txt", "failed/empty.txt.error.json"
        )
    why = json.loads(folder.content("failed/bad.pdf.error.json"))
    assert (why["code"], why["attempts"]) == ("corrupt", 1)
    assert why["reason"]
    assert why["next_step"]
    assert json.loads(folder.content("failed/empty.txt.error.json"))["code"] == "empty_document"


@pytest.mark.usefixtures("memory")
async def test_retry_folder_starts_over(watching: Watching, folder: Folder) -> None:
    async with watching().lifespan():
        folder.drop("bad.pdf", b"%PDF-1.7\n" + b"garbage " * 50)
        await folder.until("failed/bad.pdf", "failed/bad.pdf.error.json")
        folder.drop("failed/retry/bad.pdf", sound := pdf(1))
        await folder.until("archive/*/bad.pdf", "failed/bad.pdf", "failed/bad.pdf.error.json")
    (kept,) = folder.files("archive")
    assert folder.content(kept) == sound


async def test_half_written_file_is_waited_for(watching: Watching, folder: Folder, memory: Memory) -> None:
    async with watching(watch_every_s=0.6).lifespan():
        folder.drop("slow.txt", b"It begins.\n")
        for number in range(60):
            folder.write_more("slow.txt", b"Sentence number %d is written.\n" % number)
            await asyncio.sleep(0.03)
            assert memory.batches == []
        await folder.until("archive/*/slow.txt")
    text = " ".join(chunk.text for part in memory.by_number for chunk in part.chunks)
    assert "It begins." in text
    assert "Sentence number 59 is written." in text


async def test_partial_download_is_left_alone(watching: Watching, folder: Folder, memory: Memory) -> None:
    async with watching().lifespan():
        folder.drop("a.pdf.part", TEXT)
        folder.drop(".hidden", TEXT)
        folder.drop("b.txt", b"Another file.")
        await folder.until("a.pdf.part", ".hidden", "archive/*/b.txt")
        folder.move("a.pdf.part", "a.txt")
        await folder.until(".hidden", "archive/*/a.txt", "archive/*/b.txt")
    assert {part.filename for part in memory.batches} == {"a.txt", "b.txt"}


async def test_restart_takes_up_claimed_files(watching: Watching, folder: Folder, memory: Memory) -> None:
    folder.drop(".work/0123456789abcdef/deep/a.txt", TEXT)
    async with watching().lifespan():
        await folder.until("archive/*/deep/a.txt")
    assert [(part.job_id, part.filename) for part in memory.batches] == [("0123456789abcdef", "a.txt")]


async def test_file_outlives_librarian_and_memory(
    watching: Watching, folder: Folder, bus_as: BusAs, gateway: Gateway
) -> None:
    async with watching().lifespan():
        folder.drop("a.txt", TEXT)
        await eventually(lambda: folder.job_of("a.txt"))
        job = folder.job_of("a.txt")
        await gateway.progressed(job)
    assert folder.job_of("a.txt") == job
    async with bus_as("memory") as bus:
        memory = Memory(bus)
        await gateway.job(job)
        async with watching().lifespan():
            await folder.until("archive/*/a.txt")
    assert set(memory.ids.values()) == {1}
    assert len(memory.batches) == 1


@pytest.mark.usefixtures("memory")
async def test_cancelled_file_is_put_aside(watching: Watching, folder: Folder, gateway: Gateway) -> None:
    folder.drop(".work/0123456789abcdef/a.txt", TEXT)
    await gateway.bus.cancel("0123456789abcdef")
    async with watching().lifespan():
        await folder.until("failed/a.txt", "failed/a.txt.error.json")
    assert json.loads(folder.content("failed/a.txt.error.json"))["code"] == "cancelled"


@pytest.mark.usefixtures("memory")
async def test_replicas_put_every_file_away(watching: Watching, folder: Folder) -> None:
    names = [f"{number}.txt" for number in range(6)]
    async with watching().lifespan(), watching().lifespan():
        for name in names:
            folder.drop(name, TEXT + name.encode())
        await folder.until(*(f"archive/*/{name}" for name in names))
    assert [folder.content(path) for path in folder.files("archive")] == [TEXT + name.encode() for name in names]
