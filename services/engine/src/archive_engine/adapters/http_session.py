"""Connections to model servers, kept for the next call."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

from yarl import URL

from archive_engine.adapters.http_wire import Answer, StaleConnection, Wire, connect

_Origin = tuple[str, str | None, int | None]

_STALE_S = 0.5
HEAD_S = 120.0


class HttpSession:
    """Lends a connection to each call and takes it back; one that was idle for ``keep_s`` is not used again."""

    def __init__(self, *, keep_s: float) -> None:
        self._keep_s = keep_s
        self._idle: dict[_Origin, list[Wire]] = {}
        self._closed = False

    async def ask(self, url: URL, request: bytes, *, connect_s: float, head_s: float = HEAD_S) -> Answer:
        """Send a request as it stands to the server of an address; returns when the head of the answer is there.

        A kept connection that the server closed meanwhile fails at once with nothing answered; then, and only
        then, the request is sent again, on a fresh one.

        Raises:
            NotConnected: no connection could be made within ``connect_s``.
            TimeoutError: nothing came within ``head_s``.
            WireError: the connection broke first, or what came is no answer.
        """
        origin = (url.scheme, url.host, url.port)
        began = monotonic()
        if kept := self._taken(origin):
            try:
                return await _headed(kept.ask(request), head_s)
            except StaleConnection:
                if monotonic() - began > _STALE_S:
                    raise
        fresh = await connect(url, within_s=connect_s, free=partial(self._keep, origin))
        return await _headed(fresh.ask(request), head_s)

    def close(self) -> None:
        """Hang up what nobody uses, and each of the others at the end of its answer."""
        self._closed = True
        for wires in self._idle.values():
            for wire in wires:
                wire.drop()
        self._idle.clear()

    def _taken(self, origin: _Origin) -> Wire | None:
        idle = self._idle.get(origin)
        while idle:
            wire = idle.pop()
            if self._usable(wire):
                return wire
            wire.drop()
        return None

    def _keep(self, origin: _Origin, wire: Wire) -> None:
        if self._closed:
            wire.drop()
            return
        idle = self._idle.setdefault(origin, [])
        while idle and not self._usable(idle[0]):
            idle.pop(0).drop()
        wire.idle_since = monotonic()
        idle.append(wire)

    def _usable(self, wire: Wire) -> bool:
        return wire.open and monotonic() - wire.idle_since < self._keep_s


async def _headed(answer: Answer, head_s: float) -> Answer:
    """Return an answer when its head is there; who leaves early hangs up."""
    answer.listen(head_s)
    try:
        await answer.head
        answer.heard()
    except BaseException:  # also when cancelled
        answer.close()
        raise
    return answer


@asynccontextmanager
async def open_session() -> AsyncGenerator[HttpSession, None]:
    """Open a session that suits model servers: connections are dropped before the server does.

    llama.cpp closes an idle connection after 5 s; a request sent in that moment is lost.
    """
    session = HttpSession(keep_s=4.0)
    try:
        yield session
    finally:
        session.close()


def head_of(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request but for the length of its body.

    Raises:
        ValueError: a header holds a line break, which would begin another.
    """
    told = {
        "host": url.host_port_subcomponent or "",
        "user-agent": "archive-engine",
        "accept": "*/*",
        "accept-encoding": "identity",
    }
    if url.user is not None:
        login = f"{url.user}:{url.password or ''}".encode()
        told["authorization"] = f"Basic {b64encode(login).decode()}"
    told |= headers
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header of a request to an engine holds a line break; look at its key")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1", "replace")


def request_of(head: bytes, body: bytes | None) -> bytes:
    """Return a whole request."""
    if body is None:
        return head + b"\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
