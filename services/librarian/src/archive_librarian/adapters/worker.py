"""A worker process: reads one task after the other from its standard input.

It dies with its parent, after some idle seconds, or when a file drives it over its memory or CPU limit.
Started by `workers`; not meant for people.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from archive_librarian.adapters.extraction import Cutter, Reader, Reading, Slice, assemble
from archive_librarian.adapters.frames import (
    BEGUN,
    HEADER,
    Head,
    pack,
    pack_blocks,
    pack_pieces,
    unpack_blocks,
    unpack_head,
)
from archive_librarian.domain.chunker import ChunkOptions
from archive_librarian.domain.document import Extracted
from archive_librarian.domain.errors import Corrupt, ExtractionError, ResourceLimit

_TELL_EVERY_S = 0.1
_PIECES_A_FRAME = 128
_PR_SET_PDEATHSIG = 1
_NICENESS = 5


def main() -> None:
    """Arguments: parent's pid, memory limit in bytes, idle seconds, descriptor of the file with the page at work."""
    parent, memory, idle_s, position = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not get between the frames
    _restrict(parent, memory)
    _Worker(answers, position).serve(idle_s)


def _restrict(parent: int, memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which stops its workers
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            raise SystemExit(1)


class _Worker:
    def __init__(self, answers: int, position: int) -> None:
        self._answers = answers
        self._position = position
        self._cutter = Cutter()
        self._reader = Reader()
        self._told = 0.0

    def serve(self, idle_s: float) -> None:
        while select.select([0], [], [], idle_s)[0]:
            request = self._receive()
            if request is None:
                return
            self._answer(*request)

    def _receive(self) -> tuple[Head, bytes] | None:
        header = _exactly(HEADER.size)
        if header is None:
            return None
        head_size, tail_size = HEADER.unpack(header)
        body, tail = _exactly(head_size), _exactly(tail_size)
        return None if body is None or tail is None else (unpack_head(body), tail)

    def _send(self, head: Head, tail: bytes = b"") -> None:
        view = memoryview(pack(head, tail))
        while view:
            view = view[os.write(self._answers, view) :]

    def _answer(self, head: Head, tail: bytes) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime + head["cpu_s"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        self._at(0)
        try:
            self._perform(head, tail)
        except ExtractionError as error:
            self._send({"type": "failed", "error": error.to_wire()})
        except MemoryError:
            error = ResourceLimit("Reading the file takes more memory than a worker may use.")
            self._send({"type": "failed", "error": error.to_wire(), "leave": True})
            raise SystemExit(3) from None  # what a failed allocation left behind is not trusted
        except Exception as broken:  # noqa: BLE001 - the edge of the process: parsers raise anything
            error = Corrupt(f"The file cannot be read ({type(broken).__name__}: {str(broken)[:200]}).")
            self._send({"type": "failed", "error": error.to_wire()})

    def _perform(self, head: Head, tail: bytes) -> None:
        options = ChunkOptions(*head["options"])
        reading = Reading(frozenset(head.get("skip", ())), head.get("budget_s", 0.1), self._on_page)
        if head["op"] == "finish":
            blocks = unpack_blocks(tail)
            self._cut(assemble(head["head"], blocks, head["bad"], pictures=head["pictures"]), options)
            return
        path = Path(head["path"])
        if head["op"] == "begin":
            found = self._reader.begin(path, head["filename"], reading)
        else:
            found = self._reader.read_pages(path, head["first"], head["stop"], reading)
        if isinstance(found, Slice) and found.complete:
            found = assemble(found.head, found.blocks, found.bad, pictures=found.pictures)
        if isinstance(found, Extracted):
            self._cut(found, options)
        else:
            self._send(_described(found), pack_blocks(found.blocks))

    def _cut(self, document: Extracted, options: ChunkOptions) -> None:
        self._at(0)  # no page is to blame from here on
        cut = self._cutter.cut(document, options)
        self._send({"type": "progress", "phase": "chunking", "done": 0, "total": cut.length})
        while batch := list(islice(cut.pieces, _PIECES_A_FRAME)):
            self._send({"type": "pieces", "pieces": pack_pieces(batch)})
            self._send({"type": "progress", "phase": "chunking", "done": batch[-1].char_end, "total": cut.length})
        self._send(
            {
                "type": "done",
                "title": document.title,
                "format": document.format.value,
                "pages": document.pages,
                "bad_pages": document.bad_pages,
                "metadata": document.metadata,
                "tokenizer": self._cutter.tokenizer.name,
            }
        )

    def _on_page(self, page: int, pages: int) -> None:
        self._at(page)
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._send({"type": "progress", "phase": "extracting", "done": page - 1, "total": pages})

    def _at(self, page: int) -> None:
        """Leave word which page is at work; it is all that is left after a crash."""
        os.pwrite(self._position, (page | BEGUN).to_bytes(4, "big"), 0)


def _described(found: Slice) -> dict[str, Any]:
    return {
        "type": "slice",
        "head": found.head,
        "next": found.next,
        "bad": found.bad,
        "pictures": found.pictures,
    }


def _exactly(size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
