"""Runs of the agent count for the key that began them: their calls of models, also of those that nobody waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from archive_bus import Delivery
from archive_contracts.agents import (
    AgentCompleted,
    AnswerDelta,
    ModelUse,
    ResearchCompleted,
    RunAgent,
    RunFinished,
    RunModelReplied,
    RunResearch,
)
from archive_contracts.base import Problem
from archive_contracts.streams import AGENT_COMMANDS, RUNS_JOURNAL
from archive_gateway.routes.connection import ClientLeft

ROOT = {"authorization": "Bearer root"}
THRICE = (ModelUse(model="small", requests=3, prompt_tokens=300, completion_tokens=30),)
CUT = (ModelUse(model="small", prompt_tokens=90, completion_tokens=9, cut=1, estimated=1),)


@pytest.fixture
async def agent(peer: Any) -> AsyncIterator[None]:
    """An agent whose runs call a model three times; what hangs is cut short in a call when it is cancelled."""

    async def run(delivery: Delivery[RunAgent]) -> None:
        command = delivery.message
        if command.question in {"hang", "forget"}:
            await hang(delivery, command.run_id, CUT if command.question == "hang" else ())
        elif command.question == "break":
            await end(delivery, command.run_id, CUT)
            await delivery.fail(Problem(code="broken", message="It broke.", status=502))
        else:
            await delivery.reply(AgentCompleted(run_id=command.run_id, answer="6", used=THRICE))

    async def research(delivery: Delivery[RunResearch]) -> None:
        command = delivery.message
        _ = delivery.emit(AnswerDelta(text="An"))
        if command.question == "hang":
            await hang(delivery, command.run_id, CUT)
            return
        done = ResearchCompleted(run_id=command.run_id, question="q", answer="An answer", used=THRICE)
        await delivery.reply(done)

    async def hang(delivery: Delivery[Any], run_id: str, used: tuple[ModelUse, ...]) -> None:
        replied = RunModelReplied(run_id=run_id, step=1, text="t", used=CUT[0])
        await delivery.append(replied, to=RUNS_JOURNAL, entity=run_id)
        with delivery.cancellable():
            await asyncio.sleep(60)
        await end(delivery, run_id, used)

    async def end(delivery: Delivery[Any], run_id: str, used: tuple[ModelUse, ...]) -> None:
        finished = RunFinished(run_id=run_id, answer="", success=False, used=used)
        await delivery.append(finished, to=RUNS_JOURNAL, entity=run_id)

    async with peer("agent", AGENT_COMMANDS, {RunAgent: run, RunResearch: research}):
        yield


async def key_with(gateway: Any, **limits: int) -> dict[str, str]:
    scopes = ["inference", "platform"]
    made = await gateway.http.post("/v1/keys", json={"name": "k", "scopes": scopes, "limits": limits}, headers=ROOT)
    return {"authorization": f"Bearer {made.json()['key']}"}


async def booked(gateway: Any) -> tuple[int, ...]:
    """Wait for the first row of usage: requests, tokens of prompt and answer, cut and estimated answers."""
    async with asyncio.timeout(60):
        while not (rows := (await gateway.http.get("/v1/usage", headers=ROOT)).json()["rows"]):
            await asyncio.sleep(0.05)
    [row] = rows
    assert row["model"] == "small"
    return tuple(row[name] for name in ("requests", "prompt_tokens", "completion_tokens", "cut", "estimated"))


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize(("path", "more"), [("/agent", {}), ("/research", {}), ("/research", {"stream": True})])
async def test_run_is_booked_by_its_calls(closed: Any, path: str, more: dict[str, Any]) -> None:
    key = await key_with(closed, requests_per_minute=60)
    reply = await closed.http.post(path, json={"question": "2*3?"} | more, headers=key)
    assert (reply.status_code, reply.headers["x-ratelimit-remaining-requests"]) == (200, "59")
    assert await booked(closed) == (3, 300, 30, 0, 0)


@pytest.mark.usefixtures("agent")
async def test_calls_of_a_run_use_up_limits(closed: Any) -> None:
    key = await key_with(closed, requests_per_minute=3)
    first = await closed.http.post("/agent", json={"question": "2*3?"}, headers=key)
    async with asyncio.timeout(60):
        # Settled a moment after the answer.
        while (second := await closed.http.post("/agent", json={"question": "2*3?"}, headers=key)).status_code == 200:
            await asyncio.sleep(0.05)
    assert first.status_code == 200
    assert (second.status_code, second.json()["code"]) == (429, "rate_limit_exceeded")
    assert int(second.headers["retry-after"]) >= 1


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/agent", {"question": "hang"}),
        ("/agent", {"question": "forget"}),
        ("/research", {"question": "hang", "stream": True}),
    ],
)
async def test_left_run_is_billed_when_it_stopped(closed: Any, path: str, asked: dict[str, Any]) -> None:
    key = await key_with(closed, concurrent=1)
    asking = closed.http.post(path, json=asked, headers=key, timeout=0.5)
    with suppress(httpx.TimeoutException):
        await asking
    assert await booked(closed) == (1, 90, 9, 1, 1)
    async with asyncio.timeout(60):
        while (await closed.http.post("/agent", json={"question": "?"}, headers=key)).status_code != 200:
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("agent")
async def test_broken_run_is_billed(closed: Any) -> None:
    reply = await closed.http.post("/agent", json={"question": "break"}, headers=ROOT)
    assert reply.status_code == 502
    assert await booked(closed) == (1, 90, 9, 1, 1)


@pytest.mark.usefixtures("agent")
async def test_run_left_at_once_is_billed(closed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        """The connection was lost while the run was published."""

        def __init__(self, _: object) -> None: ...

        async def __aenter__(self) -> None:
            raise ClientLeft

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr("archive_gateway.routes.compat.running.while_connected", Gone)
    with suppress(httpx.TransportError):
        await closed.http.post("/agent", json={"question": "break"}, headers=ROOT, timeout=0.5)
    assert await booked(closed) == (1, 90, 9, 1, 1)


@pytest.mark.usefixtures("agent")
async def test_resumed_research_is_booked_once(closed: Any) -> None:
    asked = {"question": "q", "stream": True}
    whole = await closed.http.post("/research", json=asked, headers=ROOT | {"x-archive-resume": "1"})
    stream = whole.headers["x-archive-stream"]
    again = await closed.http.get(f"/v1/streams/{stream}", headers=ROOT)
    assert again.text == whole.text
    assert await booked(closed) == (3, 300, 30, 0, 0)
