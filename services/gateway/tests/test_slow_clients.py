"""Clients that dawdle, and a thousand that leave: nothing of them stays behind."""

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from archive_bus import Delivery
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS

CHAT = "/v1/chat/completions"
CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}'
WHOLE = '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]}'


def address(gateway: Any) -> tuple[str, int]:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    return host, int(port)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc"])
async def test_unfinished_head_is_hung_up_on(gateway: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("archive_web._server.HEAD_S", 0.3)
    reader, writer = await asyncio.open_connection(*address(gateway))
    writer.write(sent)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_finished_head_has_its_time(gateway: Any, router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_web._server.HEAD_S", 0.3)
    reply = await gateway.http.get("/livez")
    await asyncio.sleep(0.5)
    assert reply.status_code == (await gateway.http.get("/livez")).status_code == 200


async def test_dripping_body_is_refused(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_web._body.BODY_S", 0.3)
    reader, writer = await asyncio.open_connection(*address(gateway))
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{".encode())
    async with asyncio.timeout(20):
        answer = (await reader.read()).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "body_too_slow" in answer
    writer.close()


@dataclass
class Engine:
    """A router in whose place some requests are answered and the rest hang until they are cancelled."""

    running: int = 0
    begun: int = 0

    async def answer(self, delivery: Delivery[ChatRequested]) -> None:
        self.begun += 1
        self.running += 1
        try:
            with delivery.cancellable():
                if await delivery.cancelled():
                    return
                if delivery.message.stream:
                    _ = delivery.emit(ChatDelta(body=CHUNK))
                await asyncio.sleep(random.choice([0, 0.05, 300]))
                await delivery.reply(ChatCompleted(engine="e", pool="p", model="m", body=WHOLE))
        finally:
            self.running -= 1


async def leave_at_random(gateway: Any, chance: random.Random) -> None:
    """Open a connection, get somewhere with a request, and leave: in its head, its body, its answer."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": chance.random() < 0.5})
    whole = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    reader, writer = await asyncio.open_connection(*address(gateway))
    cut = chance.choice([chance.randrange(len(whole)), len(whole), len(whole), len(whole)])
    writer.write(whole[:cut])
    if chance.random() < 0.5:
        await asyncio.sleep(chance.random() * 0.2)
    if cut == len(whole) and chance.random() < 0.3:
        try:
            async with asyncio.timeout(chance.random()):
                await reader.read(64)
        except TimeoutError:
            pass
    if chance.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()


async def settled_tasks() -> int:
    """Return how many tasks there are once their number stands still: lanes open in the background."""
    before = -1
    while (now := len(asyncio.all_tasks())) != before:
        before = now
        await asyncio.sleep(1)
    return now


async def test_thousand_leavers_leave_nothing(gateway: Any, peer: Any) -> None:
    engine, chance, door = Engine(), random.Random(7), asyncio.Semaphore(100)
    process, port = psutil.Process(), address(gateway)[1]

    async def visit() -> None:
        async with door:
            await leave_at_random(gateway, chance)

    def connections() -> int:
        return sum(1 for found in process.net_connections("tcp") if found.laddr.port == port and found.raddr)

    async def running() -> int:
        return (await gateway.http.get("/guardrails/metrics")).json()["current_concurrent_requests"]

    async with peer("router", CHAT_REQUESTS, {ChatRequested: engine.answer}):
        await running()
        tasks, open_before = await settled_tasks(), connections()
        async with asyncio.TaskGroup() as visits:
            for _ in range(1000):
                visits.create_task(visit())
        async with asyncio.timeout(90):
            while await running() or engine.running or connections() > open_before or len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0.1)
    assert engine.begun > 100
