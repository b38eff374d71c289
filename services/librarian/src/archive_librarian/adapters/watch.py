"""The watched folder.

A full scan is the truth: events of the file system miss files inside a moved-in folder and are lost
while the service is down. A file is claimed by renaming it, which only one of several replicas can do.
"""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import anyio

from archive_librarian.domain.watching import (
    WORK,
    Failed,
    Later,
    Look,
    Outcome,
    claimed_name,
    destination,
    error_file,
    is_candidate,
    is_open_folder,
    numbered,
    settled,
)

_MOST_NUMBERS = 10_000


@dataclass(frozen=True, slots=True)
class Claim:
    """A file that is ours: `path` is where it lies now, `name` how it was called below the watched folder.

    `job` stays the same over restarts; whoever submits derives ids from it, so that nothing is doubled.
    """

    job: str
    path: Path
    name: PurePosixPath


Submit = Callable[[Claim], Awaitable[Outcome | None]]
"""Passes a claimed file on. None: accepted, `settle` will be called later. Called again after `Later`,
after an OSError, and after a restart, always with the same `job`."""

Ask = Callable[[str], Awaitable[Outcome | None]]
"""Tells what became of a job; None while it runs, or when that cannot be told now."""


class WatchedFolder:
    """Takes each file dropped into `root` exactly once and puts it where its outcome says."""

    def __init__(
        self,
        root: Path,
        submit: Submit,
        *,
        ask: Ask,
        ask_every: timedelta = timedelta(seconds=10),
        orphan_after: timedelta = timedelta(minutes=1),
    ) -> None:
        self._root = root
        self._submit = submit
        self._ask = ask
        self._ask_every = ask_every
        self._orphan_after = orphan_after
        self._seen: dict[PurePosixPath, Look] = {}
        self._attempts: dict[str, int] = {}
        self._accepted: dict[str, float] = {}
        self._adopted = False

    async def run(self, every: timedelta) -> None:
        """Scan until cancelled."""
        while True:
            await self.tick()
            await anyio.sleep(every.total_seconds())

    async def tick(self) -> None:
        """One round: submit what is claimed, then look at the folder and claim what came to rest."""
        for claim in await anyio.to_thread.run_sync(self._unsubmitted):
            await self._pass_on(claim)
        now = await anyio.to_thread.run_sync(self._look)
        resting, self._seen = settled(self._seen, now), now
        for look in resting:
            claim = await anyio.to_thread.run_sync(self._claim, look)
            if claim is not None:
                await self._pass_on(claim)
        await self._ask_after_accepted()

    async def settle(self, job: str, outcome: Outcome) -> Path | None:
        """Move a claimed file to where its outcome belongs and return its new place.

        None when another replica did so before. `Later` leaves it claimed and submits it again.
        """
        self._accepted.pop(job, None)
        if isinstance(outcome, Later):
            return None
        return await anyio.to_thread.run_sync(self._put_away, job, outcome)

    async def _pass_on(self, claim: Claim) -> None:
        self._attempts[claim.job] = self._attempts.get(claim.job, 0) + 1
        try:
            outcome = await self._submit(claim)
        except OSError:
            return  # still in .work: the next round submits it again
        if outcome is None:
            self._accepted[claim.job] = time.monotonic()
        else:
            await self.settle(claim.job, outcome)

    async def _ask_after_accepted(self) -> None:
        """Settle what ended unheard: one replica is told of an end, perhaps one that does not see this folder."""
        now, wait = time.monotonic(), self._ask_every.total_seconds()
        for job in [job for job, since in self._accepted.items() if now - since >= wait]:
            self._accepted[job] = now
            outcome = await self._ask(job)
            if outcome is not None:
                await self.settle(job, outcome)

    def _look(self) -> dict[PurePosixPath, Look]:
        self._root.mkdir(parents=True, exist_ok=True)
        return {look.name: look for look in self._walk(self._root)}

    def _walk(self, folder: Path) -> Iterator[Look]:
        """Regular files below `folder`; links, pipes and devices are never followed or opened."""
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            return
        for entry in entries:
            name = PurePosixPath(Path(entry.path).relative_to(self._root).as_posix())
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                if is_open_folder(name):
                    yield from self._walk(Path(entry.path))
            elif stat.S_ISREG(status.st_mode) and is_candidate(name):
                yield Look(name, status.st_size, status.st_mtime_ns, status.st_ino)

    def _claim(self, look: Look) -> Claim | None:
        """Rename a file into a folder of its own; None when somebody was faster or it changed after all."""
        job = uuid.uuid4().hex
        name = claimed_name(look.name)
        home = self._root / WORK / job
        place = home / name
        place.parent.mkdir(parents=True)
        try:
            (self._root / look.name).rename(place)
        except FileNotFoundError:
            _remove_folders(place.parent, home)
            return None
        status = place.lstat()
        same = (status.st_size, status.st_mtime_ns, status.st_ino) == (look.size, look.mtime_ns, look.inode)
        if not stat.S_ISREG(status.st_mode) or not same:
            self._give_back(place, look.name)
            _remove_folders(place.parent, home)
            return None
        return Claim(job, place, name)

    def _give_back(self, place: Path, name: PurePosixPath) -> None:
        """Somebody wrote between the second look and the claim; the next rounds will see when it rests."""
        for attempt in range(1, _MOST_NUMBERS):
            target = self._root / numbered(name, attempt)
            if not os.path.lexists(target):
                place.rename(target)
                return

    def _unsubmitted(self) -> list[Claim]:
        """Claims nobody works on: all of them after a start, later those that another replica left behind."""
        work, adopting = self._root / WORK, not self._adopted
        self._adopted = True
        if not work.is_dir():
            return []
        claims: list[Claim] = []
        for home in sorted(work.iterdir()):
            ours = adopting or home.name in self._attempts
            if home.name in self._accepted or not (ours or self._is_old(home)):
                continue
            files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
            if files:
                claims.append(Claim(home.name, files[0], PurePosixPath(files[0].relative_to(home).as_posix())))
            elif self._is_old(home):
                _remove_tree(home)
        return claims

    def _is_old(self, home: Path) -> bool:
        try:
            changed = datetime.fromtimestamp(home.lstat().st_mtime, UTC)
        except FileNotFoundError:
            return False
        return datetime.now(UTC) - changed >= self._orphan_after

    def _put_away(self, job: str, outcome: Outcome) -> Path | None:
        assert not isinstance(outcome, Later)
        home = self._root / WORK / job
        files = [path for path in home.rglob("*") if path.is_file()]
        if not files:
            _remove_tree(home)
            return None
        now = datetime.now(UTC)
        name = PurePosixPath(files[0].relative_to(home).as_posix())
        attempts = self._attempts.pop(job, 1)
        if isinstance(outcome, Failed):
            text = error_file(outcome, job=job, attempts=attempts, when=now)
            place = self._move(files[0], destination(outcome, name, now), note=text)
        else:
            place = self._move(files[0], destination(outcome, name, now), note=None)
        if place is not None:
            _remove_tree(home)
        return place

    def _move(self, source: Path, name: PurePosixPath, *, note: str | None) -> Path | None:
        """Move without ever overwriting. The note is written first: a file in `failed` is never unexplained."""
        for attempt in range(1, _MOST_NUMBERS):
            target = self._root / numbered(name, attempt)
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                continue
            explanation = target.with_name(target.name + ".error.json")
            try:
                if note is not None:
                    explanation.write_text(note, encoding="utf-8")
                os.link(source, target, follow_symlinks=False)
            except FileExistsError:
                continue
            except FileNotFoundError:
                if note is not None and not target.exists():
                    explanation.unlink(missing_ok=True)
                return None
            source.unlink(missing_ok=True)
            return target
        return None


def _remove_folders(folder: Path, home: Path) -> None:
    """Remove the empty folders from `folder` up to and including `home`."""
    while folder.is_relative_to(home):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _remove_tree(home: Path) -> None:
    """Remove a job's folder when no file is left in it."""
    for folder, _, _ in os.walk(home, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return
