"""A client that does what an event source does: when its connection breaks, it comes back for the rest."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from archive_testkit.answers.told import Told

WITHIN_S = 150.0
"""An answer has a deadline of 120 s; who has heard nothing by then was left in silence."""
SILENCE_S = 45.0
"""Pings come every ten seconds."""
TRIES = 20
PAUSE_S = 0.3
BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to ask for. ``stays`` and ``goes_on`` ask that the answer outlives its client, and its engine."""

    number: int
    words: int
    model: str
    stays: bool
    goes_on: bool


class Client:
    """Asks one system."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, wish: Wish) -> Told:
        """Stream one answer to its end, over as many connections as that takes."""
        told = Told(number=wish.number, wanted=wish.words)
        try:
            async with asyncio.timeout(WITHIN_S):
                for _ in range(TRIES):
                    if await self._connect(wish, told):
                        return told
                    await asyncio.sleep(PAUSE_S)
            told.notes.append(f"no end in {TRIES} connections")
        except TimeoutError:
            told.notes.append(f"no end in {WITHIN_S:g} s")
        return told

    async def log(self, stream: str) -> list[tuple[int, str]] | None:
        """Return what the log of an answer keeps, None when it is gone."""
        for _ in range(TRIES):
            try:
                async with self._session.get(f"{self._url}/v1/streams/{stream}") as reply:
                    if reply.status == 200:
                        events = [event async for event in events_of(reply)]
                        place, data = events[-1] if events else (0, "")
                        # What has no place is no part of the log: but for one word it says that it cannot be read now.
                        if place or _code_of(data) == "stream_cancelled":
                            return [event for event in events if event[0]]
                    if reply.status == 404:
                        return None
                    if reply.status in BUSY:
                        await _patience(reply)
            except ClientError:
                pass
            await asyncio.sleep(PAUSE_S)
        return None

    async def _connect(self, wish: Wish, told: Told) -> bool:
        """Use one connection as far as it goes. True: the answer has ended."""
        headers = {"x-archive-resume": str(int(wish.stays)), "x-archive-continue": str(int(wish.goes_on))}
        if told.stream:
            told.resumed += 1
            headers["last-event-id"] = f"{told.stream}/{told.place}"
        message = {"role": "user", "content": f"Count to {wish.words}, for the {wish.number}th time."}
        body = {"model": wish.model, "messages": [message], "stream": True, "max_tokens": 2 * wish.words}
        timeout = ClientTimeout(total=None, sock_read=SILENCE_S)
        asking = self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers, timeout=timeout)
        try:
            async with asking as reply:
                return await self._read(reply, told)
        except TimeoutError:
            told.notes.append(f"silent for {SILENCE_S:g} s")
            return True
        except ClientError:
            # It broke where the client can see it. One without a name is asked for anew, as the official client does.
            told.again += not told.stream
            return False

    async def _read(self, reply: ClientResponse, told: Told) -> bool:
        if reply.status != 200:
            return await _refused(reply, told)
        told.stream = told.stream or reply.headers["x-archive-stream"]
        async for place, data in events_of(reply):
            if place:
                told.events.append((place, data))
            if data == "[DONE]":
                told.end = "done"
                return True
            if data.startswith('{"error"'):
                told.end, told.why = "error", _code_of(data)
                return True
        told.notes.append("a whole stream without an end")
        return True


async def events_of(reply: ClientResponse) -> AsyncIterator[tuple[int, str]]:
    """Yield the events of a stream, each with its place in the log; 0 for one that has none."""
    place, data = 0, ""
    async for raw in reply.content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("id: "):
            place = int(line.rpartition("/")[2])
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and data:
            yield place, data
            place, data = 0, ""


async def _refused(reply: ClientResponse, told: Told) -> bool:
    if reply.status in BUSY:
        told.again += not told.events
        await _patience(reply)
        return False
    told.end = "refused"
    told.why = f"{reply.status} {_code_of(await reply.text())}".rstrip()
    return True


async def _patience(reply: ClientResponse) -> None:
    await asyncio.sleep(min(2.0, float(reply.headers.get("retry-after", "1"))))


def _code_of(text: str) -> str:
    try:
        body: Any = json.loads(text)
    except ValueError:
        return ""
    error = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    return str(cast("dict[str, Any]", error).get("code")) if isinstance(error, dict) else ""
