"""Answers: JSON, nothing, and server-sent events."""

from collections.abc import Sequence

from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]

PING_S = 10.0
"""Seconds of silence after which a comment keeps proxies and clients patient."""

_JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_EVENTS = (
    EVENTS,
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the tokens back
)


async def send_whole(send: Send, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
    """Send a JSON body with its length."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_last_event(send: Send, error: bytes, *, named: bool) -> None:
    """Send the error that ends a stream which has begun; those of the platform are named, those of OpenAI are not."""
    name = b"event: error\n" if named else b""
    await send({"type": "http.response.body", "body": name + b"data: " + error + b"\n\n"})


class Json:
    """An answer of JSON: a model, or bytes that are JSON already."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, content: BaseModel | bytes, *, status: int = 200, headers: Headers = ()) -> None:
        self._body = content if isinstance(content, bytes) else to_json(content)
        self._status = status
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_whole(send, self._body, status=self._status, headers=self._headers)


class Nothing:
    """204: for an event source, not to come back."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class EventWire:
    """Server-sent events to one client. The status line goes out with the first of them, not before."""

    __slots__ = ("_blocks", "_headers", "_out", "_send")

    def __init__(self, send: Send, *, headers: Headers = ()) -> None:
        self._send = send
        self._headers = [*headers]
        self._blocks: list[bytes] = []
        self._out = False

    @property
    def started(self) -> bool:
        """Whether anything is out, or about to be."""
        return self._out or bool(self._blocks)

    def announce(self, *headers: tuple[bytes, bytes]) -> None:
        """Add headers; once the first event or comment is out they come too late and are left out."""
        if not self.started:
            self._headers.extend(headers)

    def add(self, text: str, *, entry: str = "") -> None:
        """Queue one event that has no name, with an id to resume from when there is one, for the next that is sent."""
        if "\n" in text or "\r" in text:
            # Between the tokens of JSON a line break means nothing; in an event it ends the line.
            text = text.replace("\r", " ").replace("\n", " ")
        mark = f"id: {entry}\n" if entry else ""
        self._blocks.append(f"{mark}data: {text}\n\n".encode("utf-8", "replace"))

    async def flush(self) -> None:
        """Send what is queued, in one piece."""
        if self._blocks:
            block = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
            self._blocks.clear()
            await self._put(block)

    async def data(self, text: str, *, entry: str = "") -> None:
        """Send one event that has no name."""
        self.add(text, entry=entry)
        await self.flush()

    async def event(self, name: str, body: BaseModel | bytes, *, entry: str = "") -> None:
        """Send one named event, with an id to resume from when there is one."""
        data = body if isinstance(body, bytes) else to_json(body)
        mark = f"id: {entry}\n" if entry else ""
        await self._put(f"{mark}event: {name}\ndata: ".encode() + data + b"\n\n")

    async def ping(self) -> None:
        """Send a comment."""
        await self._put(b": ping\n\n")

    async def end(self) -> None:
        """Say that nothing follows."""
        await self._start()
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self) -> None:
        if not self._out:
            self._out = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *self._headers]})

    async def _put(self, block: bytes) -> None:
        if not self._out:
            await self._start()
        await self._send({"type": "http.response.body", "body": block, "more_body": True})


def to_json(model: BaseModel) -> bytes:
    """Return a model as UTF-8 JSON, absent optional fields as null: clients look for every documented key."""
    return model.__pydantic_serializer__.to_json(model, by_alias=True)
