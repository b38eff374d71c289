import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from unittest.mock import ANY

import pytest

from archive_contracts.base import Problem
from archive_contracts.jobs import Job
from archive_librarian.adapters.watch import Claim, WatchedFolder
from archive_librarian.domain.watching import (
    Done,
    Duplicate,
    Failed,
    Later,
    Look,
    Outcome,
    destination,
    is_candidate,
    numbered,
    outcome_of,
    settled,
)

REFUSED = Failed("encrypted", "The PDF is protected.", "Remove the password.")


class Inbox:
    """Collects claims and answers each with `outcome`."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.claims: list[Claim] = []
        self.outcome = outcome
        self.ended: dict[str, Outcome] = {}

    async def submit(self, claim: Claim) -> Outcome | None:
        self.claims.append(claim)
        return self.outcome

    async def ask(self, job: str) -> Outcome | None:
        return self.ended.get(job)


def watched(root: Path, inbox: Inbox) -> WatchedFolder:
    return WatchedFolder(root, inbox.submit, ask=inbox.ask, ask_every=timedelta(0))


async def ticks(folder: WatchedFolder, number: int = 2) -> None:
    for _ in range(number):
        await folder.tick()


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


async def test_resting_file_is_claimed(tmp_path: Path) -> None:
    inbox = Inbox()
    folder = watched(tmp_path, inbox)
    (tmp_path / "a.pdf").write_text("one")
    await folder.tick()
    assert inbox.claims == []
    await folder.tick()
    (claim,) = inbox.claims
    assert claim.path.read_text() == "one"
    assert claim.path == tmp_path / ".work" / claim.job / "a.pdf"
    await ticks(folder, 3)
    assert len(inbox.claims) == 1


async def test_unheard_end_is_asked_for(tmp_path: Path) -> None:
    inbox = Inbox()
    folder = watched(tmp_path, inbox)
    (tmp_path / "a.pdf").write_text("one")
    (tmp_path / "b.pdf").write_text("two")
    await ticks(folder, 3)
    first, second = inbox.claims
    inbox.ended = {first.job: Duplicate(), second.job: REFUSED}
    await ticks(folder, 1)
    assert files(tmp_path) == ["duplicates/a.pdf", "failed/b.pdf", "failed/b.pdf.error.json"]


async def test_slow_writer_is_waited_for(tmp_path: Path) -> None:
    inbox = Inbox()
    folder = watched(tmp_path, inbox)
    for part in range(4):
        with (tmp_path / "slow.txt").open("a") as file:
            file.write(f"part {part}\n")
        await folder.tick()
    assert inbox.claims == []
    await folder.tick()
    assert inbox.claims[0].path.read_text().endswith("part 3\n")


@pytest.mark.parametrize(
    ("outcome", "place"),
    [
        (Done(), f"archive/{datetime.now(UTC):%Y/%m}/deep/er/a.pdf"),
        (Duplicate(), "duplicates/deep/er/a.pdf"),
        (REFUSED, "failed/deep/er/a.pdf"),
    ],
)
async def test_outcome_decides_the_place(tmp_path: Path, outcome: Outcome, place: str) -> None:
    inbox = Inbox()
    folder = watched(tmp_path, inbox)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.pdf").write_text("one")
    await ticks(folder)
    assert await folder.settle(inbox.claims[0].job, outcome) == tmp_path / place
    assert (tmp_path / place).read_text() == "one"
    assert not any((tmp_path / ".work").iterdir())
    assert await folder.settle(inbox.claims[0].job, outcome) is None


PROBLEM = Problem(code="encrypted", message="The PDF is protected.", next_step="Remove the password.")


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        (Job(id="j", status="running"), None),
        (Job(id="j", status="done"), Done()),
        (Job(id="j", status="partial"), Done()),
        (Job(id="j", status="done", duplicate=True), Duplicate()),
        (Job(id="j", status="failed", error=PROBLEM), REFUSED),
        (Job(id="j", status="cancelled"), Failed("cancelled", "The job was cancelled.", ANY)),
    ],
)
def test_end_of_job_decides_the_outcome(job: Job, outcome: Outcome | None) -> None:
    assert outcome_of(job) == outcome


async def test_failure_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_text("one")
    await ticks(watched(tmp_path, Inbox(REFUSED)))
    note = json.loads((tmp_path / "failed" / "a.pdf.error.json").read_text())
    assert (note["code"], note["reason"], note["attempts"]) == ("encrypted", "The PDF is protected.", 1)
    assert note["next_step"] == "Remove the password."


async def test_retry_folder_takes_again(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_text("one")
    await ticks(watched(tmp_path, Inbox(REFUSED)))
    (tmp_path / "failed" / "retry").mkdir()
    (tmp_path / "failed" / "a.pdf").rename(tmp_path / "failed" / "retry" / "a.pdf")
    await ticks(watched(tmp_path, Inbox(Done())))
    assert f"archive/{datetime.now(UTC):%Y/%m}/a.pdf" in files(tmp_path)


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = watched(tmp_path, Inbox(Duplicate()))
    for text in ("one", "two", "three"):
        (tmp_path / "a.pdf").write_text(text)
        await ticks(folder)
    assert files(tmp_path) == ["duplicates/a (2).pdf", "duplicates/a (3).pdf", "duplicates/a.pdf"]


async def test_restart_submits_claimed_files(tmp_path: Path) -> None:
    before, after = Inbox(), Inbox()
    (tmp_path / "a.pdf").write_text("one")
    await ticks(watched(tmp_path, before))
    await ticks(watched(tmp_path, after))
    assert after.claims == before.claims


async def test_replicas_claim_once(tmp_path: Path) -> None:
    inboxes = [Inbox() for _ in range(3)]
    folders = [watched(tmp_path, inbox) for inbox in inboxes]
    await ticks(folders[0], 1)
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(str(number))
    for _ in range(3):
        for folder in folders:
            await folder.tick()
    claims = [claim for inbox in inboxes for claim in inbox.claims]
    assert sorted({claim.name.name for claim in claims}) == [f"{number}.txt" for number in range(5)]
    assert len({claim.job for claim in claims}) == 5


async def test_orphans_of_others_are_taken_over(tmp_path: Path) -> None:
    inbox = Inbox()
    folder = WatchedFolder(tmp_path, inbox.submit, ask=inbox.ask, orphan_after=timedelta(seconds=30))
    await ticks(folder)
    home = tmp_path / ".work" / "job-of-another"
    home.mkdir(parents=True)
    (home / "a.pdf").write_text("one")
    await ticks(folder)
    assert inbox.claims == []
    os.utime(home, (0, 0))
    await ticks(folder)
    assert [claim.job for claim in inbox.claims] == ["job-of-another"]


async def test_later_is_submitted_again(tmp_path: Path) -> None:
    inbox = Inbox(Later())
    folder = watched(tmp_path, inbox)
    (tmp_path / "a.pdf").write_text("one")
    await ticks(folder, 4)
    assert len(inbox.claims) == 3
    assert len({claim.job for claim in inbox.claims}) == 1


async def test_broken_bus_loses_nothing(tmp_path: Path) -> None:
    async def refuse(claim: Claim) -> Outcome | None:
        raise ConnectionError(claim.job)

    (tmp_path / "a.pdf").write_text("one")
    await ticks(WatchedFolder(tmp_path, refuse, ask=Inbox().ask), 3)
    assert len(files(tmp_path / ".work")) == 1


async def test_links_and_pipes_are_ignored(tmp_path: Path) -> None:
    inbox = Inbox()
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    root = tmp_path / "drop"
    root.mkdir()
    (root / "link.txt").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.txt")
    (root / ".hidden").write_text("no")
    (root / "half.pdf.part").write_text("no")
    await ticks(watched(root, inbox), 3)
    assert inbox.claims == []


async def test_empty_file_is_passed_on(tmp_path: Path) -> None:
    inbox = Inbox()
    (tmp_path / "empty.txt").touch()
    await ticks(watched(tmp_path, inbox))
    assert len(inbox.claims) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.pdf", True),
        ("sub/a.pdf", True),
        ("archive", True),
        ("archive/2024/a.pdf", False),
        ("duplicates/a.pdf", False),
        ("failed/a.pdf", False),
        ("failed/retry/a.pdf", True),
        ("failed/retry/sub/a.pdf", True),
        (".work/j/a.pdf", False),
        ("sub/.git/config", False),
        ("a.PART", False),
        ("a.docx~", False),
    ],
)
def test_candidates_by_name(name: str, expected: bool) -> None:
    assert is_candidate(PurePosixPath(name)) is expected


def test_only_unchanged_looks_settle() -> None:
    a, b = PurePosixPath("a"), PurePosixPath("b")
    before = {a: Look(a, 1, 2, 3), b: Look(b, 1, 2, 3)}
    assert settled(before, {a: Look(a, 1, 2, 3), b: Look(b, 1, 2, 4)}) == [Look(a, 1, 2, 3)]


def test_names_are_numbered() -> None:
    assert numbered(PurePosixPath("x/a.tar.gz"), 2) == PurePosixPath("x/a.tar (2).gz")
    assert destination(Done(), PurePosixPath("a"), datetime(2024, 3, 1, tzinfo=UTC)) == PurePosixPath(
        "archive/2024/03/a"
    )
