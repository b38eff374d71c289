"""Limits and guardrails, and what was used."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from archive_bus import Delivery
from archive_contracts.base import Problem, Spent
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested, Usage
from archive_contracts.keys import KeyLimits
from archive_contracts.streams import CHAT_REQUESTS
from archive_gateway.adapters.quota import SCRIPT, SharedQuota
from archive_gateway.adapters.usage import UsageLedger
from archive_gateway.domain.quota import LocalQuota, Reservation, duration, needed
from archive_gateway.domain.usage import Account, Counts, UsageSheet
from archive_testkit.servers import RedisServer
from archive_testkit.waiting import eventually

ROOT = {"authorization": "Bearer root"}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}'
WHOLE = '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]}'


async def key_with(gateway: Any, **limits: int) -> dict[str, str]:
    made = await gateway.http.post("/v1/keys", json={"name": "k", "limits": limits}, headers=ROOT)
    return {"authorization": f"Bearer {made.json()['key']}"}


@pytest.fixture
async def engine(peer: Any) -> AsyncIterator[asyncio.Event]:
    """A router that answers when told so, with 40 tokens of usage."""
    go_on = asyncio.Event()
    go_on.set()

    async def answer(delivery: Delivery[ChatRequested]) -> None:
        request = delivery.message
        if request.stream:
            for _ in range(3):
                _ = delivery.emit(ChatDelta(body=CHUNK))
        await go_on.wait()
        usage = Usage(prompt_tokens=30, completion_tokens=10, total_tokens=40)
        done = ChatCompleted(engine="e", pool="p", model="served", usage=usage, body=None if request.stream else WHOLE)
        await delivery.reply(done)

    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}):
        yield go_on


async def ask(gateway: Any, key: dict[str, str], **more: Any) -> Any:
    return await gateway.http.post("/v1/chat/completions", json=ASKED | more, headers=key)


async def rows(gateway: Any, **query: str) -> list[dict[str, Any]]:
    return (await gateway.http.get("/v1/usage", params=query, headers=ROOT)).json()["rows"]


async def test_requests_are_limited_and_told(closed: Any, engine: Any) -> None:
    key = await key_with(closed, requests_per_minute=2)
    first, second, third = [await ask(closed, key) for _ in range(3)]
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert third.headers.get_list("x-ratelimit-limit-requests") == ["2"]
    assert "requests_per_minute" in third.json()["error"]["message"]
    assert third.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("status", [404, 429, 502])
async def test_failure_tells_engine_and_limits(closed: Any, peer: Any, status: int) -> None:
    async def fail(delivery: Delivery[ChatRequested]) -> None:
        await delivery.fail(Problem(code="broken", message="It broke.", status=status, engine="small-1"))

    key = await key_with(closed, requests_per_minute=5)
    async with peer("router", CHAT_REQUESTS, {ChatRequested: fail}):
        reply = await ask(closed, key)
    assert reply.status_code == status
    assert reply.headers["x-archive-engine"] == "small-1"
    assert reply.headers.get_list("x-ratelimit-remaining-requests") == ["4"]
    assert {"x-request-id", "openai-processing-ms"} <= reply.headers.keys()


async def test_tokens_are_settled_by_what_was_used(closed: Any, engine: Any) -> None:
    key = await key_with(closed, tokens_per_minute=1000)
    first = await ask(closed, key, max_tokens=900)
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100
    async with asyncio.timeout(60):
        # Each of them reserves 101 tokens, and really takes 40: twenty could not pass otherwise.
        for _ in range(20):
            while (await ask(closed, key, max_tokens=100)).status_code == 429:
                await asyncio.sleep(0.01)


async def test_concurrency_of_a_key_is_shared(closed: Any, start: Any, engine: asyncio.Event) -> None:
    key = await key_with(closed, concurrent=1)
    engine.clear()
    async with (
        start(api_key="root") as other,
        closed.http.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}, headers=key) as running,
    ):
        refused = await ask(other, key)
        assert "concurrent" in refused.json()["error"]["message"]
        engine.set()
        await running.aread()
        async with asyncio.timeout(60):
            while (await ask(other, key)).status_code != 200:
                await asyncio.sleep(0.02)


async def test_leavers_give_their_places_back(closed: Any, engine: asyncio.Event) -> None:
    key = await key_with(closed, concurrent=2)
    engine.clear()
    begun: list[str] = []

    async def admitted() -> bool:
        asking = closed.http.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}, headers=key)
        async with asking as reply:
            if reply.status_code == 200:
                begun.append(await anext(reply.aiter_lines()))
            return reply.status_code == 200

    # Each leaves in the middle of its answer; a place that stayed taken would be missed by the third.
    for _ in range(5):
        await eventually(admitted)
    assert len([line for line in begun if line]) == 5


async def test_usage_is_kept_by_key_and_model(closed: Any, engine: Any) -> None:
    key = await key_with(closed)
    await ask(closed, key)
    await ask(closed, key, stream=True)
    await ask(closed, ROOT)
    found = {row["key"]: row for row in await rows(closed)}
    own = next(row for name, row in found.items() if name.startswith("key_"))
    assert (own["model"], own["requests"], own["prompt_tokens"], own["completion_tokens"]) == ("served", 2, 60, 20)
    assert found["gateway"]["total_tokens"] == 40
    seen_by_key = (await closed.http.get("/v1/usage", headers=key)).json()
    assert [row["key"] for row in seen_by_key["rows"]] == [own["key"]]
    assert seen_by_key["total_tokens"] == 80


async def test_old_chat_is_limited_and_booked(closed: Any, engine: Any) -> None:
    key = await key_with(closed, requests_per_minute=1)
    first, second = [await closed.http.post("/chat", json={"message": "Hi"}, headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 429)
    assert first.headers["x-archive-engine"] == "e"
    assert int(second.headers["retry-after"]) >= 1
    async with asyncio.timeout(60):
        while not (found := await rows(closed)):
            await asyncio.sleep(0.02)
    assert [(row["requests"], row["total_tokens"]) for row in found] == [(1, 40)]


async def test_cut_stream_is_metered(closed: Any, engine: asyncio.Event) -> None:
    engine.clear()
    async with closed.http.stream(
        "POST", "/v1/chat/completions", json=ASKED | {"stream": True}, headers=ROOT
    ) as running:
        pieces = running.aiter_raw()
        await anext(pieces)
    async with asyncio.timeout(60):
        while not (found := await rows(closed)):
            await asyncio.sleep(0.02)
    assert (found[0]["cut"], found[0]["estimated"], found[0]["model"]) == (1, 1, "m")
    assert found[0]["completion_tokens"] >= 1


@pytest.mark.parametrize("stream", [False, True])
async def test_broken_answer_is_booked_as_its_engine_says(closed: Any, peer: Any, stream: bool) -> None:
    spent = Spent(engine="e", model="served", prompt_tokens=30, completion_tokens=9, estimated=False)

    async def break_off(delivery: Delivery[ChatRequested]) -> None:
        if stream:
            _ = delivery.emit(ChatDelta(body=CHUNK))
        await delivery.fail(Problem(code="upstream_cut", message="Cut.", status=502, spent=spent))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: break_off}):
        await ask(closed, ROOT, stream=stream)
    async with asyncio.timeout(30):
        while not (found := await rows(closed)):
            await asyncio.sleep(0.02)
    [row] = found
    assert (row["model"], row["prompt_tokens"], row["completion_tokens"]) == ("served", 30, 9)
    assert (row["requests"], row["cut"], row["estimated"]) == (1, 1, 0)


async def test_writes_at_once_lose_no_usage(redis_url: str) -> None:
    sheet = UsageSheet()
    ledger = UsageLedger(redis_url, sheet)
    days = [f"2026-01-{day:02d}" for day in range(1, 10)]

    async def use(day: str) -> None:
        sheet.book(Account(day, "t", "k", "m"), Counts(requests=1))
        await ledger.flush()

    await asyncio.gather(*(use(day) for day in days))
    used = await ledger.read("t", days)
    await ledger.close()
    assert [account.day for account in used] == days
    assert {counts.requests for counts in used.values()} == {1}


async def test_absurd_count_stops_no_usage(redis_url: str) -> None:
    sheet = UsageSheet()
    ledger = UsageLedger(redis_url, sheet)
    sheet.book(Account("2026-01-01", "t", "k", "m"), Counts(requests=1, prompt_tokens=10**30))
    sheet.book(Account("2026-01-02", "t", "k", "m"), Counts(requests=1))
    assert await ledger.flush()
    assert len(await ledger.read("t", ["2026-01-01", "2026-01-02"])) == 2
    await ledger.close()


async def test_refused_page_is_written_later(redis_url: str) -> None:
    account, used = Account("2026-01-01", "t", "k", "m"), Counts(requests=1, prompt_tokens=20)
    sheet = UsageSheet()
    ledger = UsageLedger(redis_url, sheet)
    sheet.book(account, used)
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        redis.set("gateway:{usage:t:2026-01-01}", "in the way")
        assert not await ledger.flush()
        redis.delete("gateway:{usage:t:2026-01-01}")
    assert await ledger.read("t", ["2026-01-01"]) == {account: used}
    await ledger.close()


async def test_full_count_keeps_no_other_from_growing(redis_url: str) -> None:
    account = Account("2026-01-01", "t", "k", "m")
    sheet = UsageSheet()
    ledger = UsageLedger(redis_url, sheet)
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        redis.hset("gateway:{usage:t:2026-01-01}", "k\x1fm\x1fprompt_tokens", 2**63 - 5)
    sheet.book(account, Counts(requests=1, prompt_tokens=20, completion_tokens=3))
    assert await ledger.flush()
    used = (await ledger.read("t", ["2026-01-01"]))[account]
    assert (used.requests, used.completion_tokens) == (1, 3)
    assert used.prompt_tokens >= 9 * 10**18
    await ledger.close()


async def test_usage_survives_the_gateway(start: Any, engine: Any) -> None:
    async with start(api_key="root") as gateway:
        await ask(gateway, ROOT)
    async with start(api_key="root") as gateway:
        assert [row["requests"] for row in await rows(gateway)] == [1]
        assert await rows(gateway, model="other") == []
        other_tenant = await gateway.http.get("/v1/usage", params={"tenant": "acme"}, headers=ROOT)
    assert other_tenant.json()["rows"] == []


async def test_bad_span_is_refused(closed: Any) -> None:
    for query in ({"start": "2026-02-02", "end": "2026-02-01"}, {"start": "2000-01-01"}, {"tenant": "{a}"}):
        assert (await closed.http.get("/v1/usage", params=query, headers=ROOT)).status_code == 400
    for day in ("0001-01-01", "9999-12-31"):
        assert (await closed.http.get("/v1/usage", params={"end": day}, headers=ROOT)).status_code == 200


@pytest.mark.parametrize(
    ("bound", "more", "code"),
    [
        ({"max_messages": 1}, {"messages": [{"role": "user", "content": "a"}] * 2}, "max_messages_exceeded"),
        ({"max_message_chars": 4}, {"messages": [{"role": "user", "content": "abcde"}]}, "max_message_chars_exceeded"),
        ({"max_prompt_tokens": 1}, {"messages": [{"role": "user", "content": "abcde"}]}, "max_prompt_tokens_exceeded"),
        ({"max_answer_tokens": 9}, {"max_tokens": 10}, "max_answer_tokens_exceeded"),
        ({"max_choices": 2}, {"n": 3}, "max_choices_exceeded"),
    ],
)
async def test_guardrail_names_itself(start: Any, bound: dict[str, int], more: dict[str, Any], code: str) -> None:
    async with start(**bound) as gateway:
        reply = await gateway.http.post("/v1/chat/completions", json=ASKED | more)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, code)
    assert f"GATEWAY_{next(iter(bound)).upper()}" in error["message"]


async def test_crowd_is_refused(start: Any, engine: asyncio.Event) -> None:
    engine.clear()
    async with (
        start(max_concurrent=1) as gateway,
        gateway.http.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as running,
    ):
        refused = await ask(gateway, {})
        engine.set()
        await running.aread()
        served = await ask(gateway, {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "max_concurrent_exceeded")
    assert refused.headers["retry-after"] == "1"
    assert served.status_code == 200


async def test_limits_hold_alone_without_server() -> None:
    quota = SharedQuota("redis://127.0.0.1:1", clock=time.monotonic)
    wanted = [
        Reservation(id=str(number), key="k", limits=KeyLimits(requests_per_minute=2), tokens=1, life_s=9)
        for number in range(3)
    ]
    grants = [await quota.reserve(one) for one in wanted]
    assert [grant.rule for grant in grants] == ["", "", "requests_per_minute"]
    quota.settle(wanted[0], tokens=1)
    await quota.close()


async def test_limits_go_on_when_the_server_goes(redis_server: RedisServer) -> None:
    quota = SharedQuota(redis_server.url, clock=time.monotonic)
    limits = KeyLimits(requests_per_minute=1)
    one, two = (Reservation(id=name, key="k", limits=limits, tokens=1, life_s=9) for name in ("one", "two"))
    assert (await quota.reserve(one)).rule == ""
    await asyncio.to_thread(redis_server.kill)
    assert (await quota.reserve(two)).rule == "requests_per_minute"
    await quota.close()


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle"]),
        st.integers(0, 5),
        st.integers(0, 300),
        st.integers(0, 20_000),
    ),
    max_size=25,
)
LIMITS = st.builds(
    KeyLimits,
    requests_per_minute=st.none() | st.integers(1, 5),
    tokens_per_minute=st.none() | st.integers(1, 300),
    concurrent=st.none() | st.integers(1, 3),
)


@given(limits=LIMITS, operations=OPERATIONS)
def test_script_and_process_count_alike(shared_redis: Any, limits: KeyLimits, operations: list[Any]) -> None:
    local, now = LocalQuota(), 1_000_000
    with Redis(port=shared_redis.port) as redis:
        redis.delete("{t}", "{t}:held")
        script = redis.register_script(SCRIPT)
        for verb, number, tokens, passed in operations:
            now += passed
            one = Reservation(id=str(number), key="k", limits=limits, tokens=tokens, life_s=30)
            amount, made = needed(one) if verb == "reserve" else needed(one) - tokens // 2, 1 + tokens % 3
            numbers = [limits.requests_per_minute or 0, limits.tokens_per_minute or 0, limits.concurrent or 0]
            reply: Any = script(["{t}", "{t}:held"], [verb, one.id, *numbers, amount, 30_000, now, made - 1])
            if verb == "settle":
                local.settle(one, tokens=tokens // 2, requests=made, now=now / 1000)
                continue
            grant = local.reserve(one, now=now / 1000)
            assert reply[0].decode() == grant.rule
            assert abs(reply[2] - grant.requests_left) <= 1
            assert abs(reply[4] - grant.tokens_left) <= 1
            assert abs(reply[5] / 1000 - grant.tokens_reset_s) < 0.1


@given(limits=LIMITS, operations=OPERATIONS)
def test_process_alone_goes_on_where_all_were(limits: KeyLimits, operations: list[Any]) -> None:
    # What the server counts, by the rules that it shares with a process.
    server, local, now = LocalQuota(), LocalQuota(), 1_000.0
    for verb, number, tokens, passed in operations:
        now += passed / 1000
        one = Reservation(id=str(number), key="k", limits=limits, tokens=tokens, life_s=30)
        if verb == "settle":
            server.settle(one, tokens=tokens // 2, now=now)
            continue
        local.learn(one, server.reserve(one, now=now), now=now)
    last = Reservation(id="last", key="k", limits=limits.model_copy(update={"concurrent": None}), tokens=1, life_s=30)
    local.learn(last, server.reserve(last, now=now), now=now)
    here, there = local.reserve(last, now=now), server.reserve(last, now=now)
    assert here.rule == there.rule
    assert here.requests_reset_s == pytest.approx(there.requests_reset_s)
    assert here.tokens_reset_s == pytest.approx(there.tokens_reset_s)


def test_absurd_count_locks_no_key_for_years(shared_redis: Any) -> None:
    limits, local = KeyLimits(requests_per_minute=60, tokens_per_minute=60), LocalQuota()
    one = Reservation(id="1", key="k", limits=limits, tokens=1, life_s=30)
    with Redis(port=shared_redis.port) as redis:
        script = redis.register_script(SCRIPT)

        def asked(verb: str, tokens: int) -> Any:
            numbers = [60, 60, 0, tokens, 30_000, 1_000_000, 2**40 if verb == "settle" else 0]
            return script(["{absurd}", "{absurd}:held"], [verb, one.id, *numbers])

        asked("reserve", 1)
        asked("settle", 1 - 2**40)
        shared = asked("reserve", 1)
    local.reserve(one, now=1000.0)
    local.settle(one, tokens=2**40, requests=2**40 + 1, now=1000.0)
    alone = local.reserve(one, now=1000.0)
    assert (shared[0].decode(), shared[1]) == (alone.rule, 601_000)
    assert (alone.wait_s, alone.tokens_reset_s, shared[5]) == (601.0, 660.0, 660_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.03, "30ms"), (1.5, "1.5s"), (59.9994, "59.999s"), (360, "6m0s"), (61.4, "1m1s")],
)
def test_durations_read_as_openai_writes(seconds: float, text: str) -> None:
    assert duration(seconds) == text
