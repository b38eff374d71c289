"""The operator's pages over a real server."""

from typing import Any, cast

import pytest
import redis.asyncio

from archive_bus import DeadLetter, Delivery, Operator, Reject
from archive_console.routes import system
from archive_contracts.base import Problem
from archive_contracts.chat import ChatRequested
from archive_contracts.engine import EngineRegistered, ModelCard
from archive_contracts.streams import CHAT_REQUESTS, ENGINE_EVENTS
from archive_testkit.waiting import eventually

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
async def dead(peer: Any, bus_as: Any, redis_url: str) -> list[str]:
    """Two chats that were given up."""

    async def refuse(delivery: Delivery[ChatRequested]) -> None:
        raise Reject(Problem(code="no_lane", message=f"no lane for {HOSTILE}", next_step="n"))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: refuse}), bus_as("gateway") as bus:
        for _ in range(2):
            await bus.publish(ChatRequested(body="{}", model=HOSTILE), to=CHAT_REQUESTS)

        async def given_up() -> bool:
            return len(await letters(redis_url)) == 2

        await eventually(given_up)
    return await letters(redis_url)


async def letters(redis_url: str) -> list[str]:
    async with Operator(redis_url, redis_url) as operator:
        return [letter.id for letter in await operator.dead_letters()]


@pytest.mark.parametrize("part", ["", "/streams", "/jobs", "/dead", "/engines", "/actions"])
async def test_pages_show_and_stream(console: Any, part: str) -> None:
    page = await console.http.get(f"/system{part}")
    assert page.status_code == 200
    assert 'id="live"' in page.text
    async with console.http.stream("GET", f"/system{part or '/overview'}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert await anext(reply.aiter_lines()) == "event: fragment"


async def test_overview_counts_groups(console: Any, dead: list[str]) -> None:
    page = await console.page("/system")
    assert '<th scope="row">router</th>' in page
    assert '<div class="bad"><dt><a href="/system/dead">Dead letters</a></dt><dd>2</dd>' in page


async def test_overview_tells_speed_and_headroom(console: Any, bus_as: Any) -> None:
    async with bus_as("engine") as bus:
        for served, failed in ((0, 0), (4, 1)):
            beat = EngineRegistered(
                worker="w",
                engine="e",
                pool="p",
                models=(),
                capabilities=("chat",),
                slots=1,
                served=served,
                failed=failed,
            )
            await bus.publish(beat, to=ENGINE_EVENTS)

        async def told() -> bool:
            return "of 4 calls to engines in a minute" in await console.page("/system")

        await eventually(told)
    page = await console.page("/system")
    assert "<dd>25.0 %<small>" in page
    assert page.count("% of") == 2


async def test_message_is_decoded_with_its_cause(console: Any, bus_as: Any) -> None:
    async with bus_as("gateway") as bus:
        await bus.publish(ChatRequested(body="{}", model=HOSTILE), to=CHAT_REQUESTS)
    page = await console.page("/system/streams/chat.requests")
    entry = page.partition("/messages/")[2].partition("?")[0]
    message = await console.page(f"/system/streams/chat.requests/messages/{entry}?partition=0")
    assert "chat.requested.v1" in message
    assert HOSTILE not in message
    assert "&lt;script&gt;" in message
    assert (await console.http.get("/system/streams/chat.requests/messages/1-1")).status_code == 404


async def test_dead_letters_are_filtered_and_read(console: Any, dead: list[str]) -> None:
    page = await console.page("/system/dead")
    assert page.count('href="/system/dead/') >= 2
    assert HOSTILE not in page
    assert "No dead letters match" in await console.page("/system/dead?q=nonsense")
    letter = await console.page(f"/system/dead/{dead[0]}")
    assert "no lane for" in letter
    assert HOSTILE not in letter
    assert (await console.http.get("/system/dead/1-1")).status_code >= 400


async def test_dead_letter_is_replayed(console: Any, dead: list[str], peer: Any, redis_url: str) -> None:
    seen: list[str] = []

    async def take(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.message.model)

    reply = await console.post("/system/dead/replay", letter=dead[0], reason="fixed")
    assert (reply.status_code, await letters(redis_url)) == (303, dead[1:])
    assert "1 dead letter was replayed." in await console.page(reply.headers["location"])
    reply = await console.post("/system/dead/replay?q=lane", reason="all of them", sure="yes")
    assert reply.headers["location"] == "/system/dead?q=lane&replayed=1"
    assert await letters(redis_url) == []
    async with peer("router", CHAT_REQUESTS, {ChatRequested: take}):

        async def handled() -> bool:
            return seen == [HOSTILE, HOSTILE]

        await eventually(handled)


async def test_drop_needs_a_reason(console: Any, dead: list[str], redis_url: str) -> None:
    assert (await console.post("/system/dead/drop", letter=dead[0])).status_code == 400
    assert await letters(redis_url) == dead
    await console.post("/system/dead/drop", letter=dead[0], reason="a test")
    assert await letters(redis_url) == dead[1:]
    assert (await console.post("/system/dead/replay", letter=dead[1])).status_code == 400


async def test_all_that_match_are_dropped(console: Any, dead: list[str], redis_url: str) -> None:
    page = await console.page("/system/dead?q=no%20lane")
    assert "Replay 2 letters" in page
    assert "Drop 2 letters" in page
    until = page.partition('name="until" value="')[2].partition('"')[0]
    older = str(float(until) - 60)
    for query, fields in (("q=nonsense", {}), ("group=memory", {}), ("q=lane", {"until": older}), ("", {"until": "x"})):
        assert (await console.post(f"/system/dead/drop?{query}", reason="none", **fields)).status_code == 400
    assert await letters(redis_url) == dead
    fields = {"reason": "all of them", "until": until}
    question = (await console.post("/system/dead/drop?q=no%20lane", **fields)).text
    assert "Drop 2 dead letters?" in question
    assert f'name="until" value="{until}"' in question
    assert await letters(redis_url) == dead
    reply = await console.post("/system/dead/drop?q=no%20lane", **fields, sure="yes")
    assert (reply.status_code, reply.headers["location"]) == (303, "/system/dead?q=no+lane&dropped=2")
    assert await letters(redis_url) == []
    actions = await console.page("/system/actions")
    assert "dropped dead letters" in actions
    assert "all of them" in actions


async def test_letters_already_gone_are_not_noted(
    console: Any, dead: list[str], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Operator(redis_url, redis_url) as operator:
        both = await operator.dead_letters()
        await operator.drop(both[0])

    async def seen_before(*_: object, **__: object) -> list[DeadLetter]:
        return both

    monkeypatch.setattr(Operator, "dead_letters", seen_before)
    assert (await console.post("/system/dead/drop", reason="late", sure="yes")).status_code == 303
    assert (await console.post("/system/dead/replay", reason="too late", sure="yes")).status_code == 400
    actions = await console.page("/system/actions")
    assert both[0].id not in actions
    assert both[1].id in actions
    assert "too late" not in actions


async def test_list_tells_its_limit(console: Any, dead: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Only the newest" not in await console.page("/system/dead")
    monkeypatch.setattr("archive_console.routes.letters.LETTERS", len(dead))
    assert "Only the newest 2 dead letters" in (await console.page("/system/dead")).replace("\xa0", " ")


async def test_stream_names_who_reads_it(console: Any, dead: list[str], peer: Any) -> None:
    page = await console.page("/system/streams/chat.requests")
    assert '<th scope="row">router<small>' in page
    assert 'href="/system/dead?stream=chat.requests&amp;group=router">2</a>' in page
    async with console.http.stream("GET", "/system/streams/chat.requests/events?partition=0") as reply:
        assert await anext(reply.aiter_lines()) == "event: fragment"
    assert (await console.http.get("/system/streams/nothing/events")).status_code == 404


async def test_actions_tell_who_and_why(console: Any, dead: list[str]) -> None:
    assert "Nothing was done by hand" in await console.page("/system/actions")
    await console.post("/system/dead/drop", letter=dead[0], reason=f"a {HOSTILE}")
    page = await console.page("/system/actions")
    assert "dropped dead letters" in page
    assert "<td>anybody</td>" in page
    assert dead[0] in page
    assert "a &lt;script&gt;" in page
    assert HOSTILE not in page


async def test_odd_entry_breaks_no_page(console: Any, dead: list[str], redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as server:  # pyright: ignore[reportUnknownMemberType]
        await server.xadd("{operator.actions:0}", {"type": "operator.action-taken.v1", "data": '{"actor": 5}'})
    await console.post("/system/dead/drop", letter=dead[0], reason="seen all the same")
    assert "seen all the same" in await console.page("/system/actions")


async def test_failing_look_ends_nothing(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(visit: Any) -> Any:
        raise KeyError("secret")

    monkeypatch.setitem(cast("dict[str, Any]", system.PARTS), "streams", broken)
    async with console.http.stream("GET", "/system/streams/events") as reply:
        told = ""
        async for line in reply.aiter_lines():
            told += line
            if "The page failed." in told:
                break
    assert "secret" not in told
    assert (await console.http.get("/system")).status_code == 200


async def test_engines_are_known_by_heartbeat(console: Any, bus_as: Any) -> None:
    assert "No engine is alive" in await console.page("/system/engines")
    assert "Only the bundled model answers" in await console.page("/")
    beat = EngineRegistered(
        worker="w", engine="vllm", pool="large", models=(ModelCard(id=HOSTILE),), capabilities=("chat",), slots=4
    )
    async with bus_as("engine") as bus:
        await bus.publish(beat, to=ENGINE_EVENTS)

    async def listed() -> bool:
        return "vllm" in await console.page("/system/engines")

    await eventually(listed)
    page = await console.page("/")
    assert "Only the bundled model answers" not in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
