"""Streams that are resumed: at any gateway, by the same tenant, also after the first gateway was killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from archive_bus import Delivery
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested, Usage
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.adapters.attendance import LIFE_MS, LISTENS_MS, StreamAttendance
from archive_gateway.domain.ports import Patron
from archive_gateway.routes.openai.streams import GRACE_S, NOTE_S
from archive_testkit.servers import free_port
from archive_testkit.waiting import eventually

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
RESUMABLE = {"x-archive-resume": "1"}
CHAT = "/v1/chat/completions"
ROOT = {"authorization": "Bearer root"}


def chunk(number: int) -> str:
    delta = f'{{"index":0,"delta":{{"content":"{number} "}}}}'
    return f'{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{delta}]}}'


@dataclass
class Speaker:
    """A router that says a number whenever it may, and stops when cancelled."""

    may: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    until: int = 6
    fails: bool = False
    cancelled: list[str] = field(default_factory=list[str])
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, delivery: Delivery[ChatRequested]) -> None:
        with delivery.cancellable() as scope:
            for number in range(self.until):
                await self.may.acquire()
                _ = delivery.emit(ChatDelta(body=chunk(number)))
            if self.fails:
                await delivery.fail(Problem(code="engine_died", message="It broke.", status=502))
                return
            usage = Usage(prompt_tokens=5, completion_tokens=6, total_tokens=11)
            await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", usage=usage))
            self.done.set()
        if scope.cancelled_caught:
            self.cancelled.append(delivery.envelope.id)

    def say(self, count: int) -> None:
        for _ in range(count):
            self.may.release()


@pytest.fixture
async def speaker(peer: Any) -> AsyncIterator[Speaker]:
    speaking = Speaker()
    async with peer("router", CHAT_REQUESTS, {ChatRequested: speaking.answer}):
        yield speaking


async def events(reply: httpx.Response, count: int = 10_000) -> list[tuple[str, str]]:
    """Return the first (id, data) pairs of a stream."""
    found: list[tuple[str, str]] = []
    mark = ""
    async for line in reply.aiter_lines():
        if line.startswith("id: "):
            mark = line[4:]
        elif line.startswith("data: "):
            found.append((mark, line[6:]))
            if len(found) == count:
                break
    return found


async def begin(http: httpx.AsyncClient, count: int, headers: dict[str, str]) -> list[tuple[str, str]]:
    """Ask for a stream, read some of it and leave."""
    async with http.stream("POST", CHAT, json=ASKED, headers=headers) as reply:
        assert reply.headers["x-archive-stream"]
        return await events(reply, count)


async def test_every_event_has_its_place(gateway: Any, speaker: Speaker) -> None:
    speaker.say(6)
    found = await begin(gateway.http, 7, {})
    stream = found[0][0].partition("/")[0]
    assert [mark for mark, _ in found] == [f"{stream}/{place}" for place in range(1, 8)]
    assert [data for _, data in found] == [*(chunk(number) for number in range(6)), "[DONE]"]


async def test_another_gateway_goes_on(gateway: Any, start: Any, speaker: Speaker) -> None:
    speaker.say(3)
    heard = await begin(gateway.http, 3, RESUMABLE)
    stream = heard[0][0].partition("/")[0]
    async with start() as other:
        speaker.say(3)
        async with other.http.stream("GET", f"/v1/streams/{stream}", headers={"last-event-id": heard[1][0]}) as reply:
            rest = await events(reply)
        async with other.http.stream("GET", f"/v1/streams/{stream}") as reply:
            whole = await events(reply)
    assert [data for _, data in [*heard[:2], *rest]] == [*(chunk(number) for number in range(6)), "[DONE]"]
    assert whole == [*heard[:2], *rest]
    assert not speaker.cancelled


async def test_post_with_last_event_goes_on(gateway: Any, speaker: Speaker) -> None:
    speaker.say(6)
    heard = await begin(gateway.http, 2, RESUMABLE)
    async with gateway.http.stream("POST", CHAT, json=ASKED, headers={"last-event-id": heard[-1][0]}) as reply:
        rest = await events(reply)
    assert rest[0][1] == chunk(2)
    assert rest[-1][1] == "[DONE]"
    after_end = await gateway.http.post(CHAT, json=ASKED, headers={"last-event-id": rest[-1][0]})
    assert after_end.status_code == 204


async def test_place_beyond_the_end_is_no_trap(gateway: Any, speaker: Speaker) -> None:
    speaker.say(1)
    async with gateway.http.stream("POST", CHAT, json=ASKED, headers=RESUMABLE) as reply:
        stream = reply.headers["x-archive-stream"]
        far = {"last-event-id": f"{stream}/999999999"}
        async with gateway.http.stream("GET", f"/v1/streams/{stream}", headers=far, timeout=60.0) as beyond:
            speaker.say(5)
            assert len(await events(reply)) == 7
            assert await events(beyond) == []


async def test_only_its_tenant_resumes(start: Any, speaker: Speaker) -> None:
    speaker.say(6)
    async with start(api_key="root") as gateway:
        made = await gateway.http.post("/v1/keys", json={"name": "k", "tenant": "acme"}, headers=ROOT)
        stranger = {"authorization": f"Bearer {made.json()['key']}"}
        heard = await begin(gateway.http, 1, ROOT | RESUMABLE)
        stream = heard[0][0].partition("/")[0]
        refused = await gateway.http.get(f"/v1/streams/{stream}", headers=stranger)
        allowed = await gateway.http.get(f"/v1/streams/{stream}", headers=ROOT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "stream_not_found")
    assert allowed.status_code == 200


@pytest.mark.parametrize("name", ["x", "0" * 32])
async def test_unknown_stream_is_said(gateway: Any, name: str) -> None:
    reply = await gateway.http.get(f"/v1/streams/{name}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "stream_not_found")


async def test_leaving_for_good_cancels(gateway: Any, speaker: Speaker) -> None:
    speaker.say(1)
    heard = await begin(gateway.http, 1, {})
    stream = heard[0][0].partition("/")[0]
    await eventually(lambda: speaker.cancelled == [stream])
    reply = await gateway.http.get(f"/v1/streams/{stream}")
    assert '"stream_cancelled"' in reply.text
    assert "[DONE]" not in reply.text


async def test_nobody_comes_back_in_grace(gateway: Any, speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_gateway.routes.openai.streams.GRACE_S", 0.3)
    monkeypatch.setattr("archive_gateway.adapters.attendance.LISTENS_MS", 100)
    speaker.say(2)
    await begin(gateway.http, 2, RESUMABLE)
    await eventually(lambda: speaker.cancelled)
    rows: list[Any] = []
    while not rows:
        rows = (await gateway.http.get("/v1/usage")).json()["rows"]
    assert (rows[0]["requests"], rows[0]["cut"], rows[0]["completion_tokens"]) == (1, 1, 2)


async def test_listener_is_known_beyond_the_grace(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert NOTE_S < LISTENS_MS / 1000 < GRACE_S < LIFE_MS / 1000
    attendance, patron = StreamAttendance(redis_url), Patron(key="k", model="m", prompt_chars=3)
    await attendance.note("s", patron)
    assert await attendance.attended("s")
    monkeypatch.setattr("archive_gateway.adapters.attendance.LISTENS_MS", 0)
    assert not await attendance.attended("s")
    assert await attendance.patron("s") == patron
    await attendance.close()


async def test_answer_is_booked_when_nobody_can_tell(redis_url: str) -> None:
    for url, found in ((redis_url, [False, True]), ("redis://127.0.0.1:1", [False, False])):
        attendance = StreamAttendance(url)
        assert [await attendance.settled("s") for _ in range(2)] == found
        await attendance.close()


async def test_resumed_answer_is_booked_once(gateway: Any, start: Any, speaker: Speaker) -> None:
    speaker.say(2)
    heard = await begin(gateway.http, 2, RESUMABLE)
    speaker.say(4)
    async with start() as other:
        for place in (0, 1):
            stream = heard[place][0].partition("/")[0]
            reply = await other.http.get(f"/v1/streams/{stream}", headers={"last-event-id": heard[place][0]})
            assert "[DONE]" in reply.text
        rows = (await other.http.get("/v1/usage")).json()["rows"]
    assert [(row["requests"], row["total_tokens"], row["cut"]) for row in rows] == [(1, 11, 0)]


async def test_failure_is_resumed_too(gateway: Any, speaker: Speaker) -> None:
    speaker.fails = True
    speaker.say(6)
    heard = await begin(gateway.http, 2, RESUMABLE)
    stream = heard[0][0].partition("/")[0]
    reply = await gateway.http.get(f"/v1/streams/{stream}", headers={"last-event-id": heard[-1][0]})
    assert '"engine_died"' in reply.text.splitlines()[-2]
    assert "[DONE]" not in reply.text


@contextmanager
def process(redis_url: str, folder: Path) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """Run a gateway as a process of its own."""
    port = free_port()
    env = {
        **os.environ,
        "ARCHIVE_BUS_URL": redis_url,
        "ARCHIVE_STATE_URL": redis_url,
        "ARCHIVE_BLOBS_URL": f"file://{folder}/blobs",
        "ARCHIVE_HEALTH_PORT": "0",
        "GATEWAY_PORT": str(port),
    }
    command = [sys.executable, "-m", "archive_gateway"]
    running = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not answers(port):
            assert time.monotonic() < until
            assert running.poll() is None
            time.sleep(0.1)
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


async def test_answer_outlives_killed_gateway(redis_url: str, tmp_path: Path, speaker: Speaker) -> None:
    with process(redis_url, tmp_path) as (first, url), process(redis_url, tmp_path) as (_, other):
        async with httpx.AsyncClient(timeout=30) as http:
            speaker.say(3)
            async with http.stream("POST", f"{url}{CHAT}", json=ASKED) as reply:
                heard = await events(reply, 3)
                first.send_signal(signal.SIGKILL)
                first.wait()
            speaker.say(3)
            await asyncio.wait_for(speaker.done.wait(), 30)
            reply = await http.post(f"{other}{CHAT}", json=ASKED, headers={"last-event-id": heard[-1][0]})
    rest = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert [data for _, data in heard] + rest == [*(chunk(number) for number in range(6)), "[DONE]"]
