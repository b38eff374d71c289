"""Each script, by itself, on each server."""

import asyncio
import time
from typing import Any

import pytest
from redis.exceptions import ResponseError

from archive_bus._commands import SCRIPTS

STREAM, SEEN = "{s:0}", "{s:0}:seen:id"
RUNS, PARKED, DEAD = "{s:0}:g:runs", "{s:0}:g:parked", "{s:0}:g:dead"
RAN = [STREAM, RUNS]
ALL = [STREAM, RUNS, PARKED]
LOG = "{answers:x}"
HOUR = 3_600_000


async def run(client: Any, name: str, keys: list[str], *args: str | bytes | int) -> Any:
    return await client.eval(SCRIPTS[name], len(keys), *keys, *args)


async def deliver(client: Any, count: int, *, consumer: str = "me", group: str = "g") -> list[str]:
    """Return the ids of new entries that a consumer of a group holds."""
    if not await client.exists(STREAM):
        await client.xgroup_create(STREAM, group, id="0", mkstream=True)
    for number in range(count):
        await client.xadd(STREAM, {"n": number})
    rows = await client.xreadgroup(group, consumer, {STREAM: ">"}, count=count)
    return [entry_id.decode() for entry_id, _ in rows[0][1]]


async def pending(client: Any, *, group: str = "g") -> dict[str, tuple[str, int]]:
    """Return owner and idle time in ms of each pending entry."""
    rows = await client.xpending_range(STREAM, group, "-", "+", 100)
    return {row["message_id"].decode(): (row["consumer"].decode(), row["time_since_delivered"]) for row in rows}


async def test_every_script_is_tested_here() -> None:
    delivery = "ack append broadcast bury claim extend publish reap recover release reply started trim"
    features = "ack_once adopt begin_once delay end_log keep move_due own present take"
    operating = "backlog drop_group join replay"
    assert set(SCRIPTS) == {*delivery.split(), *features.split(), *operating.split()}


@pytest.mark.guarantee("G6")
async def test_publish_adds_once(client: Any) -> None:
    assert await run(client, "publish", [STREAM, SEEN], 0, HOUR, 10, "type", "t") is None
    assert not await client.exists(STREAM, SEEN)
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    first = await run(client, "publish", [STREAM, SEEN], 0, HOUR, 10, "type", "t")
    assert await run(client, "publish", [STREAM, SEEN], 0, HOUR, 10, "type", "t") == [0, first[1]]
    assert first[0] == await client.xlen(STREAM) == 1
    assert 0 < await client.pttl(SEEN) <= HOUR


async def test_publish_counts_what_waits(client: Any) -> None:
    ids = await deliver(client, 3)
    assert await run(client, "publish", [STREAM, SEEN], 0, HOUR, 3, "type", "t") == [-2, b"g", 3]
    await client.xack(STREAM, "g", *ids)
    assert (await run(client, "publish", [STREAM, SEEN], 0, HOUR, 3, "type", "t"))[0] == 1
    assert (await run(client, "publish", [STREAM, f"{SEEN}2"], 0, HOUR, 1, "type", "t"))[0] == -2
    assert await client.xlen(STREAM) == 4


async def test_backlog_counts_lag_and_pending(client: Any) -> None:
    assert await run(client, "backlog", [STREAM], "-") == []
    one, _ = await deliver(client, 2)
    await client.xadd(STREAM, {"n": 9})
    (row,) = await run(client, "backlog", [STREAM], "-")
    assert row[:4] == [b"g", 1, 2, one.encode()]
    assert 0 <= row[4] < 60_000
    assert row[5:7] == [1, 0]
    await client.xgroup_create(STREAM, "new", id="0")
    assert (await run(client, "backlog", [STREAM], "-"))[1] == [b"new", 3, 0, one.encode(), -1, 0, 0, 0]


async def test_backlog_counts_who_asks(client: Any) -> None:
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    until, awake = time.monotonic() + 60, 0
    while awake != 2:
        assert time.monotonic() < until
        for consumer in ("one", "other"):
            await client.xadd(STREAM, {"n": 1})
            await client.xreadgroup("g", consumer, {STREAM: ">"})
        ((*_, awake),) = await run(client, "backlog", [STREAM], "-")


async def test_replay_moves_once(client: Any) -> None:
    caller = {"raw.deadline": "1", "raw.reply": "p/1", "raw.log": "l", "raw.only": "x"}
    letter = await client.xadd(DEAD, {"cause.code": "c", "raw.type": "t", "raw.data": b"\xff", **caller})
    added, gone = await run(client, "replay", [STREAM, DEAD], "g", letter, "9-9")
    assert gone is None
    assert await run(client, "replay", [STREAM, DEAD], "g", letter) == [None]
    assert await client.xrange(STREAM) == [(added, {b"type": b"t", b"data": b"\xff", b"only": b"g"})]
    assert await client.xlen(DEAD) == 0


async def test_drop_group_is_remembered(client: Any) -> None:
    keys = [*ALL, "{s:0}:dropped"]
    assert await run(client, "drop_group", keys, "g") is None
    await deliver(client, 2)
    await client.xadd(STREAM, {"n": 9})
    assert await run(client, "drop_group", keys, "other") is None
    assert await run(client, "drop_group", keys, "g") == 3
    assert await client.xinfo_groups(STREAM) == []
    assert await client.smembers(keys[-1]) == {b"g"}


async def test_append_expects_a_length(client: Any) -> None:
    first = await run(client, "append", [STREAM, SEEN], 0, HOUR, HOUR, 0, "type", "t")
    assert await run(client, "append", [STREAM, SEEN], 0, HOUR, HOUR, 0, "type", "t") == [0, first[1]]
    assert await run(client, "append", [STREAM, f"{SEEN}2"], 0, HOUR, HOUR, 0, "type", "t") == [-2, b"1"]
    added, _ = await run(client, "append", [STREAM, f"{SEEN}2"], 0, HOUR, HOUR, -1, "type", "t")
    assert (added, await client.xlen(STREAM)) == (1, 2)
    assert 0 < await client.pttl(STREAM) <= HOUR


@pytest.mark.guarantee("G6")
async def test_broadcast_adds_once(client: Any) -> None:
    first = await run(client, "broadcast", [STREAM, SEEN], 0, HOUR, 10, "type", "t")
    assert await run(client, "broadcast", [STREAM, SEEN], 0, HOUR, 10, "type", "t") == [0, first[1]]
    for number in range(300):
        await run(client, "broadcast", [STREAM, f"{SEEN}{number}"], 0, HOUR, 10, "type", "t")
    assert 10 <= await client.xlen(STREAM) < 300
    assert 0 < await client.pttl(SEEN) <= HOUR


@pytest.mark.guarantee("G3")
async def test_late_outputs_are_refused(client: Any) -> None:
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    now = (await client.time())[0] * 1000
    late, early = now - 1000, now + 60_000
    assert await run(client, "publish", [STREAM, SEEN], late, HOUR, 10, "type", "t") == -1
    assert await run(client, "broadcast", [STREAM, SEEN], late, HOUR, 10, "type", "t") == -1
    assert await run(client, "append", [STREAM, SEEN], late, HOUR, HOUR, -1, "type", "t") == -1
    assert await run(client, "reply", [STREAM], late, 10, 1, late, 2, "type", "t") == [1]
    assert await run(client, "keep", [STREAM], late, "0-1", "type", "t") == -1
    assert await run(client, "end_log", [STREAM], late, HOUR, "type", "t") == -1
    assert await client.xlen(STREAM) == 0
    assert (await run(client, "publish", [STREAM, SEEN], early, HOUR, 10, "type", "t"))[0] == 1
    assert (await run(client, "publish", [STREAM, SEEN], late, HOUR, 10, "type", "t"))[0] == 0
    assert await run(client, "reply", [STREAM], early, 10, 1, early, 2, "type", "t") is not None
    assert await run(client, "reply", ["{none:0}"], early, 10, 1, early, 2, "type", "t") is None


@pytest.mark.guarantee("G3")
async def test_late_replies_alone_are_refused(client: Any) -> None:
    await client.xgroup_create(STREAM, "owner", mkstream=True)
    now = (await client.time())[0] * 1000
    late, early = now - 1000, now + 60_000
    three = ["id", "a", "id", "b", "data", "x", "id", "c"]
    assert await run(client, "reply", [STREAM], late, 10, 3, 0, 2, late, 4, early, 2, *three) == [2]
    assert await run(client, "reply", ["{none:0}"], late, 10, 3, 0, 2, late, 4, early, 2, *three) is None
    entry = await run(client, "reply", [STREAM], early, 10, 3, 0, 2, early, 4, early, 2, *three)
    rows = await client.execute_command("XRANGE", STREAM, entry, "+", keys=None)
    assert await client.xlen(STREAM) == 2
    assert rows


async def test_line_is_kept_at_its_place(client: Any) -> None:
    assert await run(client, "keep", [LOG], 0, "0-1", "type", "t") is None
    await client.xgroup_create(LOG, "keeper", mkstream=True)
    assert await run(client, "keep", [LOG], 0, "0-2", "type", "t") == b"0-2"
    with pytest.raises(ResponseError, match="equal or smaller"):
        await run(client, "keep", [LOG], 0, "0-2", "type", "again")
    assert await client.xlen(LOG) == 1


async def test_join_forgets_an_earlier_group(client: Any) -> None:
    (one,) = await deliver(client, 1)
    await run(client, "started", RAN, "g", "me", 2, one, "r")
    await client.zadd(PARKED, {one: 9e15})
    assert await run(client, "join", ALL, "g") == 0
    assert await client.exists(RUNS, PARKED) == 2
    await client.xgroup_destroy(STREAM, "g")
    assert await run(client, "join", ALL, "g") == 1
    assert await client.exists(RUNS, PARKED) == 0
    assert [group["name"] for group in await client.xinfo_groups(STREAM)] == [b"g"]


async def test_started_counts_each_run_once(client: Any) -> None:
    one, two = await deliver(client, 2)
    assert await run(client, "started", RAN, "g", "me", 2, one, "a1", two, "a1") == [[1, 0], [1, 0]]
    assert await run(client, "started", RAN, "g", "me", 2, one, "a1") == [[1, 0]]
    await client.hset(RUNS, one, "a1! ")
    assert await run(client, "started", RAN, "g", "me", 2, one, "a2") == [[2, 1]]
    assert await run(client, "started", RAN, "g", "other", 2, one, "a3") == [[-1, 0]]
    assert await client.hget(RUNS, one) == b"a1! a2 "


@pytest.mark.guarantee("G5")
async def test_waiting_suspect_is_not_counted(client: Any) -> None:
    (one,) = await deliver(client, 1)
    for number in range(2):
        assert await run(client, "started", RAN, "g", "me", 2, one, f"run{number}") == [[number + 1, 0]]
    for number in range(2, 5):
        assert await run(client, "started", RAN, "g", "me", 2, one, f"run{number}") == [[3, 0]]
    for _ in range(2):
        assert await run(client, "started", RAN, "g", "me", 0, one, "alone") == [[3, 0]]
    assert await client.hget(RUNS, one) == b"run0 run1 alone "


@pytest.mark.guarantee("G3")
async def test_ack_wants_the_owner(client: Any) -> None:
    one, two = await deliver(client, 2)
    await run(client, "started", RAN, "g", "me", 2, one, "r", two, "r")
    assert await run(client, "ack", RAN, "g", "other", one) == [-1]
    assert await run(client, "ack", RAN, "g", "me", one, "9-9") == [1, 0]
    assert await run(client, "ack", RAN, "g", "me", one) == [0]
    assert list(await pending(client)) == [two]
    assert await client.hkeys(RUNS) == [two.encode()]


@pytest.mark.guarantee("G3")
async def test_extend_renews_what_is_owned(client: Any) -> None:
    mine, theirs = await deliver(client, 2)
    await client.xclaim(STREAM, "g", "other", 0, [theirs], idle=5000)
    await client.xclaim(STREAM, "g", "me", 0, [mine], idle=5000)
    assert await run(client, "extend", [STREAM], "g", "me", mine, theirs) == [theirs.encode()]
    held = await pending(client)
    assert held[mine][1] < 5000 <= held[theirs][1]
    assert held[theirs][0] == "other"


async def test_release_gives_to_nobody(client: Any) -> None:
    mine, theirs = await deliver(client, 2)
    await client.xclaim(STREAM, "g", "other", 0, [theirs])
    for _ in range(2):
        await run(client, "release", ALL, "g", "me", "-", 10_000, 3000, "", mine, "", theirs, "")
    held = await pending(client)
    assert held[theirs][0] == "other"
    assert held[mine][0] == "-"
    assert 7000 <= held[mine][1] < 60_000
    assert not await client.exists(PARKED, RUNS)


@pytest.mark.guarantee("G5")
async def test_end_of_a_run_is_noted_once(client: Any) -> None:
    mine, theirs = await deliver(client, 2)
    await run(client, "started", RAN, "g", "me", 2, mine, "r1", theirs, "r1")
    await client.xclaim(STREAM, "g", "other", 0, [theirs])
    await run(client, "started", RAN, "g", "other", 2, theirs, "r2")
    for _ in range(2):
        await run(client, "release", ALL, "g", "me", "-", 10_000, 0, "!", mine, "r1", theirs, "r3", "9-9", "r1")
    assert await client.hgetall(RUNS) == {mine.encode(): b"r1! ", theirs.encode(): b"r1 r2 r3! "}
    for _ in range(2):
        await run(client, "release", ALL, "g", "me", "-", 10_000, 0, "", mine, "r1", theirs, "r1")
    assert await client.hgetall(RUNS) == {theirs.encode(): b"r2 r3! "}
    assert await run(client, "started", RAN, "g", "other", 2, theirs, "r2") == [[2, 1]]


async def test_release_keeps_nothing_of_the_deleted(client: Any) -> None:
    (one,) = await deliver(client, 1)
    await run(client, "started", RAN, "g", "me", 2, one, "r1")
    await client.xdel(STREAM, one)
    await run(client, "release", ALL, "g", "me", "-", 1000, 60_000, "!", one, "r1")
    assert not await client.exists(RUNS, PARKED)


async def test_claim_leaves_the_parked(client: Any) -> None:
    soon, later = await deliver(client, 2)
    await run(client, "release", ALL, "g", "me", "-", 100, 0, "", soon, "")
    await run(client, "release", ALL, "g", "me", "-", 100, 60_000, "!", later, "r")
    await asyncio.sleep(0.2)
    start, claimed = await run(client, "claim", ALL, "g", "you", "-", 100, "0-0", 10)
    assert (start, [entry[0] for entry in claimed]) == (b"0-0", [soon.encode()])
    held = await pending(client)
    assert (held[soon][0], held[later][0]) == ("you", "-")
    assert await run(client, "release", ALL, "g", "you", "-", 100, 0, "", later, "") == 1
    await client.zadd(PARKED, {later: 1})
    await asyncio.sleep(0.2)
    _, claimed = await run(client, "claim", ALL, "g", "you", "-", 100, "0-0", 10)
    assert later.encode() in [entry[0] for entry in claimed]
    assert not await client.exists(PARKED)


async def test_recover_returns_what_is_owned(client: Any) -> None:
    mine, theirs = await deliver(client, 2)
    await client.xclaim(STREAM, "g", "other", 0, [theirs])
    await client.xclaim(STREAM, "g", "me", 0, [mine], idle=5000)
    (entry,) = await run(client, "recover", [STREAM], "g", "me", 100)
    assert entry[0] == mine.encode()
    held = await pending(client)
    assert (held[mine][0], held[theirs][0]) == ("me", "other")
    assert held[mine][1] < 5000


async def test_reap_spares_owners(client: Any) -> None:
    await deliver(client, 1, consumer="owner")
    for consumer in ("idle", "leaving"):
        await client.xgroup_createconsumer(STREAM, "g", consumer)
    await asyncio.sleep(0.05)
    assert await run(client, "reap", [STREAM], "g", HOUR, "leaving") == [b"leaving"]
    assert await run(client, "reap", [STREAM], "g", 1, "owner") == [b"idle"]
    assert [row["name"] for row in await client.xinfo_consumers(STREAM, "g")] == [b"owner"]


async def test_bury_moves_once(client: Any) -> None:
    (one,) = await deliver(client, 1)
    await run(client, "started", RAN, "g", "me", 2, one, "r")
    assert await run(client, "bury", [*ALL, DEAD], "g", "other", one, "raw.x", "y") is None
    assert await run(client, "bury", [*ALL, DEAD], "g", "me", one, "raw.x", b"\xff\x00") is not None
    assert await run(client, "bury", [*ALL, DEAD], "g", "me", one, "raw.x", "y") is None
    assert [fields for _, fields in await client.xrange(DEAD)] == [{b"raw.x": b"\xff\x00"}]
    assert not await pending(client)
    assert not await client.exists(RUNS)


async def test_bury_needs_no_free_memory(client: Any) -> None:
    (one,) = await deliver(client, 1)
    await client.config_set("maxmemory", 1)
    try:
        assert await run(client, "bury", [*ALL, DEAD], "g", "me", one, "raw.x", "y") is not None
    finally:
        await client.config_set("maxmemory", 0)


@pytest.mark.parametrize("held", [0, 2])
@pytest.mark.guarantee("G8")
async def test_trim_never_drops_the_unacked(client: Any, held: int) -> None:
    behind_it_too = bool(await client.eval("return redis.REDIS_VERSION_NUM >= 0x080200 and 1", 0))
    ids = await deliver(client, 5)
    await client.xgroup_create(STREAM, "slow", id="0")
    now = (await client.time())[0] * 1000 + 60_000
    assert await run(client, "trim", [STREAM], now) == 0
    await client.xreadgroup("slow", "one", {STREAM: ">"})
    await client.xack(STREAM, "slow", *ids)
    await client.xack(STREAM, "g", *ids[:held], *ids[held + 1 :])
    trimmed = await run(client, "trim", [STREAM], now)
    assert trimmed == (4 if behind_it_too else held)
    assert ids[held].encode() in [entry for entry, _ in await client.xrange(STREAM)]
    await client.xack(STREAM, "g", *ids)
    assert await run(client, "trim", [STREAM], 1) == 0
    assert await run(client, "trim", [STREAM], now) == 5 - trimmed
    assert await run(client, "trim", ["{none:0}"], now) == 0


async def test_trim_goes_on_without_its_dropped_groups(client: Any) -> None:
    await deliver(client, 3)
    now = (await client.time())[0] * 1000 + 60_000
    await client.xgroup_destroy(STREAM, "g")
    assert await run(client, "trim", [STREAM], now) == 0
    assert await run(client, "trim", [STREAM], now, "g", "h") == 0
    await client.sadd("{s:0}:dropped", "g")
    assert await run(client, "trim", [STREAM], now, "g", "h") == 0
    await client.sadd("{s:0}:dropped", "h")
    assert await run(client, "trim", [STREAM], 1, "g", "h") == 0
    assert await run(client, "trim", [STREAM], now, "g", "h") == 3


async def test_end_log_lets_nothing_follow(client: Any) -> None:
    assert await run(client, "end_log", [LOG], 0, HOUR, "type", "t") is None
    await client.xgroup_create(LOG, "keeper", mkstream=True)
    await client.xadd(LOG, {"type": "delta"}, id="0-1")
    await client.xadd(LOG, {"type": "delta"}, id="0-2")
    assert await run(client, "end_log", [LOG], 0, HOUR, "type", "end") == 3
    assert await run(client, "end_log", [LOG], 0, HOUR, "type", "end") == 0
    with pytest.raises(ResponseError, match="equal or smaller"):
        await client.xadd(LOG, {"type": "late"}, id="0-4")
    assert [place.decode() for place, _ in await client.xrange(LOG)] == ["0-1", "0-2", "1-3"]
    assert 0 < await client.pttl(LOG) <= HOUR


async def test_delay_keeps_once_and_moves_when_due(client: Any) -> None:
    timers, parcels = f"{STREAM}:due", f"{STREAM}:parcels"
    seen = [f"{STREAM}:seen:{name}" for name in ("a", "b")]
    assert await run(client, "delay", [timers, parcels, seen[0]], 0, HOUR, 1, 0, 2, "a", "type", b"\xff\x00") == 0
    assert await run(client, "delay", [timers, parcels, seen[0]], 0, HOUR, 1, 0, 2, "a", "type", "again") is None
    assert 0 < await run(client, "delay", [timers, parcels, seen[1]], 0, HOUR, 0, HOUR, 2, "b", "type", "t") <= HOUR + 1
    assert HOUR < await client.pttl(seen[1]) <= 2 * HOUR + 1
    full = await run(client, "delay", [timers, parcels, f"{STREAM}:seen:c"], 0, HOUR, 1, 0, 2, "c", "type", "t")
    assert full == -2
    assert await run(client, "move_due", [STREAM, timers, parcels], HOUR, 10) is None
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    count, left = await run(client, "move_due", [STREAM, timers, parcels], HOUR, 10)
    assert count == 1
    assert 0 < left <= HOUR + 1
    assert [fields for _, fields in await client.xrange(STREAM)] == [{b"type": b"\xff\x00"}]
    assert await run(client, "publish", [STREAM, seen[0]], 0, HOUR, "type", "t") == [0, await client.get(seen[0])]
    late = await run(client, "delay", [timers, parcels, f"{STREAM}:seen:c"], 1, HOUR, 0, 1, 2, "c", "type", "t")
    assert late == -1
    assert (await client.zrange(timers, 0, -1), await client.hkeys(parcels)) == ([b"b"], [b"b"])


async def test_own_gives_growing_tokens(client: Any) -> None:
    keys = [f"{STREAM}:g:owner", f"{STREAM}:g:fence"]
    first = await run(client, "own", keys, "me", HOUR)
    assert await run(client, "own", keys, "me", HOUR) == first > 0
    assert await run(client, "own", keys, "other", HOUR) == 0
    assert await run(client, "own", keys, "other", 0) == 0
    assert await run(client, "own", keys, "me", 0) == 0
    assert await run(client, "own", keys, "other", HOUR) > first
    assert 0 < await client.pttl(keys[0]) <= HOUR


async def test_present_forgets_the_silent(client: Any) -> None:
    members = f"{STREAM}:g:members"
    assert await run(client, "present", [members], "a", HOUR) == [b"a"]
    await client.zadd(members, {"silent": 1})
    assert await run(client, "present", [members], "b", HOUR) == [b"a", b"b"]
    assert await run(client, "present", [members], "a", 0) == [b"b"]


async def test_take_reads_for_the_owner_only(client: Any) -> None:
    owner = f"{STREAM}:g:owner"
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    entry = await client.xadd(STREAM, {"n": 1})
    assert await run(client, "take", [STREAM, owner], "me:5", "g", "me", "0-0", 10) is None
    await client.set(owner, "me:5")
    assert await run(client, "take", [STREAM, owner], "me:4", "g", "me", "0-0", 10) is None
    read = [[entry, [b"n", b"1"]]]
    assert await run(client, "take", [STREAM, owner], "me:5", "g", "me", "0-0", 10) == [read, 0, entry]
    assert await run(client, "take", [STREAM, owner], "me:5", "g", "me", entry, 10) == [[], 0, entry]


@pytest.mark.guarantee("G12")
async def test_lost_reply_is_taken_first(client: Any) -> None:
    owner = f"{STREAM}:g:owner"
    await client.set(owner, "me:5")
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    one, two, three = [await client.xadd(STREAM, {"n": number}) for number in range(3)]

    async def take(after: bytes) -> tuple[list[bytes], int]:
        entries, again, _ = await run(client, "take", [STREAM, owner], "me:5", "g", "me", after, 2)
        return [entry[0] for entry in entries], again

    assert await take(b"0-0") == ([one, two], 0)
    assert await take(b"0-0") == ([one, two], 1)  # as after a connection that broke before the reply
    assert await take(one) == ([two], 1)
    assert await take(two) == ([three], 0)
    await client.xdel(STREAM, three)
    assert await take(two) == ([], 0)


async def test_adopt_leaves_what_is_parked(client: Any) -> None:
    owner, parked = f"{STREAM}:g:owner", f"{STREAM}:g:parked"
    theirs, resting, due, later = await deliver(client, 4, consumer="other")
    await client.xclaim(STREAM, "g", "-", 0, [resting], idle=10)
    await client.xclaim(STREAM, "g", "-", 0, [due], idle=HOUR)
    await client.xclaim(STREAM, "g", "-", 0, [later], idle=HOUR)
    await client.zadd(parked, {later: 9e15})
    keys, args = [STREAM, owner, parked], ("me:5", "g", "me", "-", 60_000, "0-0", 10)
    assert await run(client, "adopt", keys, *args) is None
    await client.set(owner, "me:5")
    looked_at, taken, waiting, last = await run(client, "adopt", keys, *args)
    assert (looked_at, last) == (4, later.encode())
    assert [entry[0].decode() for entry in taken] == [theirs, due]
    assert [entry[0].decode() for entry in waiting] == [resting, later]
    assert {name: who for name, (who, _) in (await pending(client)).items()} == {
        theirs: "me",
        resting: "-",
        due: "me",
        later: "-",
    }


async def test_message_is_handled_once(client: Any) -> None:
    inbox = f"{STREAM}:g:done:id"
    first, second, theirs = await deliver(client, 3)
    await client.xclaim(STREAM, "g", "other", 0, [theirs])
    begin, ack = [STREAM, inbox], [STREAM, RUNS, inbox]
    assert await run(client, "begin_once", begin, "g", "me", theirs, HOUR) == -1
    assert await run(client, "begin_once", begin, "g", "me", first, HOUR) == 1
    assert await run(client, "begin_once", begin, "g", "me", first, HOUR) == 1
    assert await run(client, "begin_once", begin, "g", "me", second, HOUR) == 2
    assert await run(client, "ack_once", ack, "g", "other", first, HOUR) == -1
    assert await run(client, "ack_once", ack, "g", "me", first, HOUR) == 1
    assert await run(client, "ack_once", ack, "g", "me", first, HOUR) == 0
    assert await run(client, "begin_once", begin, "g", "me", second, HOUR) == 0
    assert 0 < await client.pttl(inbox) <= HOUR
