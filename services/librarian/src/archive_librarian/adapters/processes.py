"""Worker processes as the service sees them: start, ask, kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from archive_librarian.adapters.frames import BEGUN, HEADER, MOST_BYTES, Head, pack, unpack_head
from archive_librarian.domain.errors import ExtractionError, ResourceLimit, WorkerCrashed, from_wire

_MODULE = "archive_librarian.adapters.worker"


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker process may use. `task_s` is wall time, `cpu_s` CPU time, both for one task."""

    memory_bytes: int = 1 << 30
    task_s: float = 120.0
    cpu_s: float = 60.0
    idle_s: float = 30.0


class StaleWorker(Exception):
    """A worker kept from an earlier task was gone before it began this one."""


class WorkerProcess:
    """One child process; runs one task at a time."""

    def __init__(self, process: Process, position: int, limits: WorkerLimits) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._position = position
        self._limits = limits
        self._requests = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)
        self._tasks = 0

    @classmethod
    async def start(cls, limits: WorkerLimits) -> WorkerProcess:
        # The child notes the page at work here; a file outlives it, unlike anything it could still send.
        with tempfile.TemporaryFile() as file:
            position = os.dup(file.fileno())
        os.set_inheritable(position, False)
        arguments = (os.getpid(), limits.memory_bytes, limits.idle_s, position)
        try:
            process = await anyio.open_process(
                [sys.executable, "-P", "-m", _MODULE, *(str(argument) for argument in arguments)],
                stderr=subprocess.DEVNULL,
                pass_fds=(position,),
            )
        except BaseException:  # also when cancelled: nobody has it yet who would close it
            os.close(position)
            raise
        return cls(process, position, limits)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def page(self) -> int:
        """The page (from 1) the worker was at; 0 while it was opening the file."""
        return int.from_bytes(os.pread(self._position, 4, 0), "big") & ~BEGUN

    @property
    def _begun(self) -> bool:
        return os.pread(self._position, 4, 0) != bytes(4)

    async def run(self, head: Head, tail: bytes, on_frame: Callable[[Head], None]) -> tuple[Head, bytes]:
        """Perform one task and return its last frame; frames before that go to `on_frame`.

        Raises what the task raised, WorkerCrashed or ResourceLimit when the process died or took too long,
        StaleWorker when it had left before. After an error for which `is_fatal` holds, `kill` must follow.
        """
        os.pwrite(self._position, bytes(4), 0)
        self._tasks += 1
        try:
            with anyio.fail_after(self._limits.task_s):
                return await self._exchange(head | {"cpu_s": self._limits.cpu_s}, tail, on_frame)
        except TimeoutError as late:
            raise ResourceLimit(f"Reading took longer than {self._limits.task_s:.0f} s.") from late
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead, OSError) as gone:
            raise await self._explained() from gone

    async def _exchange(self, head: Head, tail: bytes, on_frame: Callable[[Head], None]) -> tuple[Head, bytes]:
        await self._requests.send(pack(head, tail))
        while True:
            header = await self._answers.receive_exactly(HEADER.size)
            head_size, tail_size = HEADER.unpack(header)
            if head_size + tail_size > MOST_BYTES:
                raise WorkerCrashed("The worker sent a frame beyond any size.")
            answer = unpack_head(await self._answers.receive_exactly(head_size))
            rest = await self._answers.receive_exactly(tail_size) if tail_size else b""
            if answer["type"] == "failed":
                raise from_wire(answer["error"])
            if answer["type"] in {"done", "slice"}:
                return answer, rest
            on_frame(answer)

    async def _explained(self) -> Exception:
        """Why the process is gone, by its exit status."""
        with anyio.move_on_after(2):
            await self._process.wait()
        code = self._process.returncode
        if self._tasks > 1 and not self._begun:
            return StaleWorker()
        where = f" at page {self.page}" if self.page else ""
        if code == -signal.SIGXCPU:
            return ResourceLimit(f"Reading took more than {self._limits.cpu_s:.0f} s of CPU time{where}.")
        if code == -signal.SIGKILL:
            return ResourceLimit(f"The system stopped the worker{where}, probably for want of memory.")
        if code in {-signal.SIGABRT, -signal.SIGTRAP, -signal.SIGILL}:
            limit = self._limits.memory_bytes >> 20
            return ResourceLimit(f"Reading{where} needs more than the {limit} MB of memory a worker may use.")
        return WorkerCrashed(f"The worker died{where} (exit status {code}).")

    async def kill(self) -> None:
        """End the process at once and reap it; safe to call twice."""
        if self._position < 0:
            return
        position, self._position = self._position, -1
        if self.alive:
            self._process.kill()
        with anyio.CancelScope(shield=True):
            await self._process.aclose()
        os.close(position)


def is_fatal(error: BaseException) -> bool:
    """Whether the worker must not be used again after `error`."""
    return not isinstance(error, ExtractionError) or isinstance(error, (ResourceLimit, WorkerCrashed))
