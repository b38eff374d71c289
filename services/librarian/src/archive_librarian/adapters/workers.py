"""Extraction in killable processes, a few pages at a time.

A file from a stranger may hang, crash or blow up its parser; here that costs one process and, where it can
be told, one page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from archive_librarian.adapters.frames import Head, unpack_pieces
from archive_librarian.adapters.processes import StaleWorker, WorkerLimits, WorkerProcess, is_fatal
from archive_librarian.adapters.turns import Account, Turns
from archive_librarian.domain.chunker import ChunkOptions, Piece
from archive_librarian.domain.document import Format
from archive_librarian.domain.errors import ExtractionError, ResourceLimit, WorkerCrashed
from archive_librarian.domain.extraction import Extraction, Phase, Progress

_SLICE_S = 0.1
_PAGES_WORTH_SPLITTING = 200
_MOST_CRASHES = 3
_LONG_BYTES = 1 << 20

OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class _Job:
    """A document on its way through the workers."""

    path: Path
    filename: str
    options: ChunkOptions
    on_progress: OnProgress
    account: Account
    pages: int = 0
    read: dict[int, int] = field(default_factory=dict[int, int])
    skip: set[int] = field(default_factory=set[int])
    crash: ExtractionError | None = None
    bad: list[int] = field(default_factory=list[int])
    pictures: bool = False
    pieces: list[Piece] = field(default_factory=list[Piece])

    def tell(self) -> None:
        self.on_progress(Progress(Phase.EXTRACTING, min(sum(self.read.values()), self.pages), self.pages))


class Extractor:
    """Files into chunks. Use as an async context manager; leaving it ends the worker processes.

    Workers start when they are needed and leave by themselves after `limits.idle_s`.
    """

    def __init__(self, *, workers: int = 2, limits: WorkerLimits | None = None) -> None:
        self._limits = limits or WorkerLimits()
        self._workers = max(workers, 1)
        self._turns = Turns(self._workers)
        # Tasks that cannot be sliced leave one worker to the others.
        self._long = anyio.Semaphore(max(self._workers - 1, 1))
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()

    async def __aenter__(self) -> Extractor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Kill all workers; extractions still under way fail with WorkerCrashed."""
        for worker in list(self._all):
            await self._discard(worker)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        return [worker.pid for worker in self._all if worker.alive]

    async def extract(self, path: Path, *, filename: str, options: ChunkOptions, on_progress: OnProgress) -> Extraction:
        """Read and chunk one file; cancelling the caller kills the worker at once.

        Raises ExtractionError. A page that cannot be read, or kills its reader, is listed in `bad_pages`;
        only when nothing else is left does it raise.
        """
        job = _Job(path, filename, options, on_progress, self._turns.open())
        try:
            return await self._extract(job)
        finally:
            self._turns.close(job.account)

    async def _extract(self, job: _Job) -> Extraction:
        request = {"op": "begin", "path": str(job.path), "filename": job.filename}
        size = (await anyio.Path(job.path).stat()).st_size
        answer, blob = await self._survive(job, request, first=0, stop=None, long=size > _LONG_BYTES)
        if answer["type"] == "done":
            return _extraction(answer, job)
        head, parts = answer["head"], [blob]
        job.pages = head["pages"]
        self._note(job, answer, 0)
        parts.extend(await self._read_rest(job, answer["next"]))
        request = {"op": "finish", "head": head, "bad": job.bad, "pictures": job.pictures}
        try:
            answer, _ = await self._task(job, request, b"\n".join(parts), long=True)
        except ExtractionError as error:
            raise (job.crash or error) from error
        return _extraction(answer, job)

    async def _read_rest(self, job: _Job, first: int) -> list[bytes]:
        """Read the remaining pages, in as many ranges at once as there are workers."""
        rest = job.pages - first
        ranges = max(min(self._workers, rest // _PAGES_WORTH_SPLITTING), 1)
        step = math.ceil(rest / ranges)
        parts: list[list[bytes]] = [[] for _ in range(ranges)]
        failures: list[ExtractionError] = []

        async def read(number: int) -> None:
            at, stop = first + number * step, min(first + (number + 1) * step, job.pages)
            try:
                await self._read_range(job, at, stop, parts[number])
            except ExtractionError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for number in range(ranges):
                group.start_soon(read, number)
        if failures:
            raise failures[0]
        return [blob for part in parts for blob in part]

    async def _read_range(self, job: _Job, at: int, stop: int, parts: list[bytes]) -> None:
        while at < stop:
            request = {"op": "pages", "path": str(job.path), "first": at, "stop": stop}
            answer, blob = await self._survive(job, request, first=at, stop=stop, long=False)
            self._note(job, answer, at)
            parts.append(blob)
            at = answer["next"]

    def _note(self, job: _Job, answer: Head, first: int) -> None:
        job.bad.extend(answer["bad"])
        job.pictures = job.pictures or answer["pictures"]
        job.read[first] = answer["next"] - first
        job.tell()

    async def _survive(
        self, job: _Job, request: Head, *, first: int, stop: int | None, long: bool
    ) -> tuple[Head, bytes]:
        """Run a reading task; when a page kills the worker, run it again without that page."""
        while True:
            try:
                return await self._task(job, request | {"skip": sorted(job.skip), "budget_s": _SLICE_S}, long=long)
            except _PageLost as lost:
                known = first < lost.page <= (stop or lost.page) and lost.page not in job.skip
                if not known or len(job.skip) >= _MOST_CRASHES:
                    raise lost.cause from None
                job.skip.add(lost.page)
                job.crash = lost.cause
            except ExtractionError as error:
                raise (job.crash or error) from error

    async def _task(self, job: _Job, request: Head, tail: bytes = b"", *, long: bool) -> tuple[Head, bytes]:
        if not long:
            return await self._on_worker(job, request, tail)
        async with self._long:
            return await self._on_worker(job, request, tail)

    async def _on_worker(self, job: _Job, request: Head, tail: bytes) -> tuple[Head, bytes]:
        def on_frame(frame: Head) -> None:
            _follow(job, request, frame)

        head = request | {"options": [job.options.max_tokens, job.options.overlap_tokens]}
        async with self._turns.turn(job.account):
            while True:
                worker = await self._take()
                job.pieces.clear()  # of a worker that died over them
                try:
                    answer = await worker.run(head, tail, on_frame)
                except StaleWorker:
                    await self._discard(worker)
                    continue
                except BaseException as error:  # also when cancelled: in the middle of a job it serves nobody else
                    page = worker.page
                    await self._settle(worker, error)
                    if isinstance(error, (ResourceLimit, WorkerCrashed)) and page:
                        raise _PageLost(page, error) from error
                    raise
                self._idle.append(worker)
                return answer

    async def _settle(self, worker: WorkerProcess, error: BaseException) -> None:
        if is_fatal(error):
            await self._discard(worker)
        else:
            self._idle.append(worker)

    async def _take(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await self._discard(worker)
        worker = await WorkerProcess.start(self._limits)
        self._all.add(worker)
        return worker

    async def _discard(self, worker: WorkerProcess) -> None:
        self._all.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        await worker.kill()


class _PageLost(Exception):
    def __init__(self, page: int, cause: ExtractionError) -> None:
        super().__init__(page, cause)
        self.page = page
        self.cause = cause


def _follow(job: _Job, request: Head, frame: Head) -> None:
    """Take in what a worker reports in the middle of a task."""
    if frame["type"] == "pieces":
        job.pieces.extend(unpack_pieces(frame["pieces"]))
        return
    if frame["phase"] == Phase.CHUNKING:
        job.on_progress(Progress(Phase.CHUNKING, frame["done"], frame["total"]))
        return
    job.pages = frame["total"]
    first: int = request.get("first", 0)
    job.read[first] = max(frame["done"] - first, 0)
    job.tell()


def _extraction(answer: dict[str, Any], job: _Job) -> Extraction:
    return Extraction(
        title=answer["title"],
        format=Format(answer["format"]),
        pages=answer["pages"],
        pieces=tuple(job.pieces),
        tokenizer=answer["tokenizer"],
        bad_pages=tuple(answer["bad_pages"]),
        metadata=answer["metadata"],
    )
