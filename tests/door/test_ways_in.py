"""What requests carry through the whole door, whose they are, and where they wait for an engine."""

import asyncio
import json
from typing import Any

from archive_bus import Operator
from archive_contracts.streams import ENGINE_JOBS
from archive_testkit.fault_engine import FaultEngine

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
WITHIN_S = 60.0
LINK = "https://example.com/a%20b.png?size=1&q=%C3%BC#part"
DATA = "data:image/png;base64,iVBORw0KGgo+/AA=="
SESSIONS = [f"conversation-{number}" for number in range(12)]


def asked(engine: FaultEngine) -> list[dict[str, Any]]:
    return [json.loads(text) for path, text in engine.received if path == CHAT]


async def test_images_arrive_untouched(door: Any) -> None:
    engine = await door.engine("seeing", capabilities=("chat", "vision"))
    await door.engine("blind", capabilities=("chat",))
    await door.open(default="blind")
    await door.ready("seeing", "blind")
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": LINK, "detail": "low", "odd": None}},
        {"type": "image_url", "image_url": {"url": DATA}},
    ]
    messages = [{"role": "system", "content": "See."}, {"role": "user", "content": parts}]
    reply = await door.ask(messages=messages, stream=True)
    assert "[DONE]" in reply.text
    assert reply.headers["x-archive-engine"] == "seeing"
    (body,) = asked(engine)
    assert body["messages"] == messages


async def test_session_keeps_its_worker(door: Any) -> None:
    for number in range(3):
        # Places enough: where a worker may have none left, a session goes to another.
        await door.engine("pool", name=f"worker-{number}", slots=256)
    await door.open()
    await door.ready("pool")

    async def served() -> list[str]:
        """Ask once in each session; returns who answered."""
        headers = [{"x-archive-session": session} for session in SESSIONS]
        replies = [await door.http.post(CHAT, json=ASKED, headers=each) for each in headers]
        return [reply.headers["x-archive-engine"] for reply in replies]

    async with asyncio.timeout(WITHIN_S):
        # A router that has not heard of all workers yet knows other homes.
        homes: list[str] = []
        while len(set(homes)) < 2 or homes != await served():
            homes = await served()
    assert homes == await served()


async def test_pool_sleeps_and_wakes_without_loss(door: Any) -> None:
    await door.open(pools="{gpu: {scale_to_zero: true, models: [m], start_s: 5}}")
    engine = await door.lone_engine()
    for _ in range(2):
        asking = [asyncio.ensure_future(door.ask(model="m", stream=True)) for _ in range(3)]
        await waiting(door.places["bus_url"], 3)
        assert not any(each.done() for each in asking)
        async with door.worker("gpu", engine.url), door.worker("gpu", engine.url, name="another"):
            replies = await asyncio.gather(*asking)
        assert ["[DONE]" in reply.text for reply in replies] == [True] * 3
    assert len(asked(engine)) == 6


async def waiting(url: str, count: int) -> None:
    """Wait until so many jobs wait for a worker."""
    async with Operator(url, url) as operator, asyncio.timeout(WITHIN_S):
        while True:
            reports = [report for report in await operator.streams() if report.stream == ENGINE_JOBS.name]
            if sum((group.lag or 0) for report in reports for group in report.groups) == count:
                return
            await asyncio.sleep(0.05)
