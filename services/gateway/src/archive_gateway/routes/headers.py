"""What the head of an answer says beside its body: who answered, what that cost, what is left."""

import time
from collections.abc import Sequence

from archive_contracts.chat import ChatCompleted
from archive_contracts.engine import Embedded
from archive_gateway.domain.errors import Headers
from archive_gateway.routes.visit import Visit


def answer_headers(visit: Visit, done: ChatCompleted | Embedded, limits: Headers) -> Headers:
    """Return the headers of a whole answer; ``limits`` are those of the caller's key."""
    total_ms = (time.perf_counter() - visit.ticket.began) * 1000
    return (
        answered_by(done.engine),
        (b"x-archive-overhead-ms", b"%.2f" % max(0.0, total_ms - done.upstream_ms)),
        *limits,
        *theirs(done.headers, limits),
    )


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
