"""Read the answer of an OpenAI-compatible server: whole, streamed, or streamed and put together again."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, cast

from archive_engine.adapters.chunks import choices, has_token, json_object
from archive_engine.adapters.http_wire import Answer
from archive_engine.adapters.retry_after import retry_after_s
from archive_engine.domain.assemble import Assembler
from archive_engine.domain.errors import (
    UpstreamCut,
    UpstreamMalformed,
    UpstreamStalled,
    UpstreamStatus,
)
from archive_engine.domain.sse import EventTooLarge, SseEvent, SseParser

Json = dict[str, Any]
Shape = Literal["stream", "whole", "assembled", "opaque", "raw"]
"""`opaque` is `whole` without decoding it: an embeddings answer is megabytes of numbers nobody here reads.
`raw` is a body of any kind."""

_BODY_LIMIT: Final = 64 * 1024 * 1024
_DRAIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest silences, in seconds. They are no deadline: the caller keeps that."""

    connect_s: float = 2.0
    first_token_s: float = 120.0
    idle_s: float = 30.0


class UpstreamEvent(NamedTuple):
    """One chunk of a stream, or the one body of an answer that is not streamed.

    `data` is what the server sent, byte for byte; `parsed` the same decoded, for usage and finish reason (empty
    when opaque); `token` whether it carries a part of the answer, not only a role or usage.
    """

    data: str
    parsed: Mapping[str, Any]
    token: bool


class UpstreamReply:
    """An answer under way: `async with` opens it, `async for` reads it, leaving closes it.

    Leaving early, by `break`, an exception or cancellation, closes the connection at once, which is how a server
    learns that it may stop. An answer read to its end gives the connection back for the next.
    """

    def __init__(self, connect: Callable[[], Awaitable[Answer]], *, shape: Shape, timeouts: Timeouts) -> None:
        self._connect = connect
        self._shape: Shape = shape
        self._timeouts = timeouts
        self._response: Answer | None = None
        self._only: Callable[[], Awaitable[UpstreamEvent]] | None = None
        self._parser = SseParser()
        self._found: deque[SseEvent] = deque()
        self._streams = self._started = self._over = self._done = False
        self._running: set[int] = set()
        self._finished: set[int] = set()
        self.bad_chunks = 0
        """Chunks that were no JSON object, left out of the stream."""
        self.token_seen = False

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, once opened."""
        return self._opened().headers

    async def __aenter__(self) -> Self:
        """Send the request and wait for the status.

        Raises:
            UpstreamError: every kind of it.
        """
        response = await self._connect()
        self._response = response
        try:
            if response.status != 200:
                raise await _status_error(response, limit_s=self._timeouts.idle_s)
            self._only = self._read(response)
        except BaseException:  # also when cancelled: nobody has it yet who would hang up
            response.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection, or give it back when the answer is complete."""
        response = self._opened()
        try:
            if self._done and kind is None and not response.at_end:
                # What follows the last event is the end of the body, most often already here.
                async with asyncio.timeout(_DRAIN_S):
                    await response.piece()
        except OSError:  # TimeoutError among them
            pass
        finally:
            # On a response at its end close() is a no-op: the connection went back to the pool by itself.
            response.close()

    def __aiter__(self) -> Self:
        """Iterate over the events, once."""
        return self

    async def __anext__(self) -> UpstreamEvent:
        """Return the next event.

        Raises:
            UpstreamError: the answer ended early, stalled, or is none; `token_seen` tells what was delivered.
        """
        if self._streams:
            event = await self._next()
            if event is None:
                raise StopAsyncIteration
        else:
            self._opened()
            only, self._only = self._only, None
            if only is None:
                raise StopAsyncIteration
            event = await only()
        self.token_seen = self.token_seen or event.token
        return event

    def _opened(self) -> Answer:
        if self._response is None:
            raise RuntimeError("an UpstreamReply is read inside its `async with`")
        return self._response

    def _read(self, response: Answer) -> Callable[[], Awaitable[UpstreamEvent]] | None:
        """Return what reads the only event of an answer; None for one of many."""
        if self._shape in {"whole", "opaque", "raw"}:
            return self._whole
        if response.content_type != "text/event-stream":
            if self._shape == "assembled":
                return self._whole
            raise UpstreamMalformed(
                f"The engine answered a streamed request with {response.content_type}.",
                next_step="Check that its base URL is an OpenAI-compatible API that can stream.",
            )
        if self._shape == "assembled":
            return self._assembled
        self._streams = True
        return None

    async def _whole(self) -> UpstreamEvent:
        response, body = self._opened(), bytearray()
        while piece := await self._piece(response):
            body += piece
            if len(body) > _BODY_LIMIT:
                raise self._malformed(f"over {_BODY_LIMIT} bytes")
        self._done = True
        text = body.decode("utf-8", "replace")
        if self._shape in {"opaque", "raw"}:
            if self._shape == "opaque" and not text.lstrip().startswith("{"):
                raise self._malformed("no JSON object")
            return UpstreamEvent(text, {}, token=True)
        parsed = json_object(text)
        if parsed is None:
            raise self._malformed("no JSON object")
        self._raise_in_band(parsed, text)
        return UpstreamEvent(text, parsed, token=True)

    async def _assembled(self) -> UpstreamEvent:
        assembler = Assembler()
        while event := await self._next():
            # Kept from the caller until it is complete, so that a failure here can still be hidden by another engine.
            assembler.add(event.parsed)
        result = assembler.result()
        # As ASCII: half of a character, which a server may send by itself, has no other form on the way.
        return UpstreamEvent(json.dumps(result), result, token=True)

    async def _next(self) -> UpstreamEvent | None:
        """Return the next chunk of a stream, None after the last."""
        found = self._found
        while not self._done:
            while found:
                event = found.popleft()
                if event.data == "[DONE]":
                    self._done = True
                    return None
                if chunk := self._chunk(event):
                    self._started = self._started or chunk.token
                    return chunk
            if self._over:
                # A few servers never say [DONE]; a finish reason for every choice is as good.
                self._done = bool(self._finished) and self._running <= self._finished
                if not self._done:
                    raise self._cut("The engine's stream ended before its answer was complete.")
                return None
            piece = await self._piece(self._opened(), started=self._started)
            self._over = not piece
            try:
                found.extend(self._parser.feed(piece) if piece else self._parser.finish())
            except EventTooLarge as error:
                raise self._malformed(str(error)) from error
        return None

    def _chunk(self, event: SseEvent) -> UpstreamEvent | None:
        parsed = json_object(event.data)
        if parsed is None:
            self.bad_chunks += 1
            return None
        self._raise_in_band(parsed, event.data)
        token = False
        for choice in choices(parsed):
            index = choice.get("index", 0)
            self._running.add(index)
            if choice.get("finish_reason") is not None:
                self._finished.add(index)
            token = token or has_token(choice)
        return UpstreamEvent(event.data, parsed, token)

    async def _piece(self, response: Answer, *, started: bool = True) -> bytes:
        """Wait for the next bytes; empty at the end.

        Comments count as life: a server that sends them while a long prompt is read has not stalled.
        """
        if (piece := response.here()) or response.at_end:
            return piece
        limit_s = self._timeouts.idle_s if started else self._timeouts.first_token_s
        response.listen(limit_s)
        try:
            return await response.piece()
        except TimeoutError as error:
            raise UpstreamStalled(
                f"The engine sent nothing for {limit_s:g} s.",
                next_step="See whether it is overloaded, or raise the idle limit of the engine.",
                token_seen=self.token_seen,
            ) from error
        except OSError as error:
            raise self._cut(f"The connection to the engine broke: {error or type(error).__name__}.") from error
        finally:
            response.heard()

    def _raise_in_band(self, parsed: Json, raw: str) -> None:
        found = parsed.get("error")
        if not found or "choices" in parsed:
            return
        detail = cast("Json", found) if isinstance(found, dict) else {"message": str(found)}
        code = detail.get("code")
        raise UpstreamStatus(
            f"The engine reported an error: {detail.get('message', 'no message')}",
            status=code if isinstance(code, int) and 400 <= code <= 599 else 502,
            body=raw,
            token_seen=self.token_seen,
        )

    def _cut(self, message: str) -> UpstreamCut:
        return UpstreamCut(
            message, next_step="Look into the engine's log; it may have been killed.", token_seen=self.token_seen
        )

    def _malformed(self, what: str) -> UpstreamMalformed:
        return UpstreamMalformed(
            f"The engine's answer is {what}.",
            next_step="Check that its base URL is an OpenAI-compatible API.",
            token_seen=self.token_seen,
        )


async def _status_error(response: Answer, *, limit_s: float) -> UpstreamStatus:
    try:
        async with asyncio.timeout(limit_s):
            body = (await response.piece())[: 64 * 1024].decode("utf-8", "replace")
    except OSError:  # TimeoutError among them
        body = ""
    return UpstreamStatus(
        f"The engine answered {response.status} {response.reason or ''}.".replace(" .", "."),
        status=response.status,
        body=body,
        retry_after=retry_after_s(response.headers),
    )
