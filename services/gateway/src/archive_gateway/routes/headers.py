"""What the head of an answer says beside its body: who answered, what that cost, what is left."""

import time
from collections.abc import Sequence

from archive_contracts.chat import ChatCompleted, ChatDelta
from archive_contracts.engine import Embedded
from archive_gateway.domain.errors import Headers
from archive_gateway.routes.visit import Visit


def answer_headers(visit: Visit, done: ChatCompleted | Embedded, limits: Headers) -> Headers:
    """Return the headers of a whole answer; ``limits`` are those of the caller's key."""
    return (
        answered_by(done.engine),
        overhead(visit.ticket.began, upstream_ms=done.upstream_ms),
        *limits,
        *theirs(done.headers, limits),
    )


def stream_headers(visit: Visit, first: ChatDelta, limits: Headers) -> Headers:
    """Return the headers of a streamed answer, whose head goes out with its first piece."""
    known = [answered_by(first.engine), *theirs(first.headers, limits)]
    if first.upstream_ms is not None:
        known.append(overhead(visit.ticket.began, upstream_ms=first.upstream_ms))
    return known


def overhead(began: float, *, upstream_ms: float) -> tuple[bytes, bytes]:
    """Return the header that tells the time spent outside the engine; ``began`` is on ``time.perf_counter``'s clock."""
    total_ms = (time.perf_counter() - began) * 1000
    return b"x-archive-overhead-ms", b"%.2f" % max(0.0, total_ms - upstream_ms)


def theirs(headers: Sequence[tuple[str, str]], ours: Headers) -> Headers:
    """Return the engine's own headers, but for those that the limits of the caller's key say better."""
    if not headers:
        return ()
    taken = {name for name, _ in ours}
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return [(name, value) for name, value in sent if name not in taken]


def answered_by(engine: str) -> tuple[bytes, bytes]:
    """Return the header that names an engine."""
    return b"x-archive-engine", engine.encode("latin-1", "replace")
