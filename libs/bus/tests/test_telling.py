"""Replies that travel together, each with an outcome of its own."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from bus_peers import CHAT, bus_of, client_of
from hypothesis import given
from hypothesis import strategies as st

from archive_bus import BusUnavailable, Delivery, LeaseLost, Origin
from archive_bus._lease import clock
from archive_bus._link import replies_of
from archive_bus._redis import telling
from archive_contracts.chat import ChatDelta, ChatRequested
from archive_contracts.streams import CHAT_REQUESTS, REPLIES

NAMES = st.sampled_from([b"type", b"subject", b"seq", b"data"])
REPLY = st.dictionaries(NAMES, st.binary(max_size=8))


@dataclass
class Ends:
    """A lease that ends when it is told to."""

    until: float
    refused: list[str] = field(default_factory=list[str])

    async def confirm(self, *, renew: bool = False) -> None:
        """Nobody asks."""

    def refuse(self) -> None:
        """Take note."""
        self.refused.append("late")


@given(frames=st.lists(st.lists(st.tuples(st.binary(max_size=4), REPLY), min_size=1, max_size=5), max_size=3))
def test_frame_gives_back_its_replies(frames: list[list[tuple[bytes, dict[bytes, bytes]]]]) -> None:
    said = [[{b"id": reply_id, **rest} for reply_id, rest in frame] for frame in frames]
    rows = [
        (f"{number}-0".encode(), [part for each in frame for pair in each.items() for part in pair])
        for number, frame in enumerate(said)
    ]
    assert replies_of(rows) == [(f"{number}-0", each) for number, frame in enumerate(said) for each in frame]


async def test_waiting_replies_are_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MOST_WAITING", 100)
    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        gateway.open(CHAT, to=CHAT_REQUESTS, timeout=60) as call,
    ):
        origin = Origin(reply=f"{gateway.process}/{call.id}")
        told = [router.reply(ChatDelta(body=str(place)), origin=origin, seq=place) for place in range(1, 301)]
        outcomes = await asyncio.gather(*told, return_exceptions=True)
        assert await router.reply(ChatDelta(body="on"), origin=origin, seq=301)
        for _ in range(outcomes.count(True)):
            await call.next()
        with pytest.raises(BusUnavailable, match=r"replies \d+ to 300 were lost"):
            await call.next()
    assert 0 < outcomes.count(True) <= 100
    assert {type(each) for each in outcomes if each is not True} == {BusUnavailable}


async def test_replies_of_a_turn_share_an_entry(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        for process in ("one", "other"):
            await client.xgroup_create(REPLIES.physical(process), "owner", mkstream=True)
        told = [
            router.reply(ChatDelta(body=str(number)), origin=Origin(reply=f"{process}/call-{number}"))
            for number in range(50)
            for process in ("one", "other")
        ]
        assert [await each for each in told] == [True] * 100
        lengths = [await client.xlen(REPLIES.physical(process)) for process in ("one", "other")]
    assert lengths == [1, 1]


async def test_one_who_leaves_takes_no_reply_from_another(redis_url: str) -> None:
    async with bus_of("router", redis_url) as router, client_of(redis_url) as client:
        await client.xgroup_create(REPLIES.physical("one"), "owner", mkstream=True)
        told = router.reply(ChatDelta(body="once"), origin=Origin(reply="one/call"))

        async def waiting() -> bool:
            return await told

        leaver, other = asyncio.ensure_future(waiting()), asyncio.ensure_future(waiting())
        await asyncio.sleep(0)
        leaver.cancel()
        assert await other
        assert leaver.cancelled()
        assert await told


async def test_late_reply_is_refused_among_others(redis_url: str) -> None:
    over, lasting = Ends(clock() - 1), Ends(clock() + 600)
    async with (
        bus_of("gateway", redis_url) as gateway,
        bus_of("router", redis_url) as router,
        gateway.open(CHAT, to=CHAT_REQUESTS) as call,
    ):
        origin = Origin(reply=f"{gateway.process}/{call.id}")
        told = [
            router.reply(ChatDelta(body=str(number)), origin=origin, last=False, lease=lease)
            for number, lease in enumerate((lasting, over, None))
        ]
        assert await told[0]
        with pytest.raises(LeaseLost):
            await told[1]
        assert await told[2]
        heard: list[Any] = [await call.next(), await call.next()]
    assert [each.body for each in heard] == ["0", "2"]
    assert (over.refused, lasting.refused) == (["late"], [])


async def test_many_streams_keep_their_order(redis_url: str) -> None:
    async def speak(delivery: Delivery[ChatRequested]) -> None:
        for number in range(200):
            _ = delivery.emit(ChatDelta(body=f"{delivery.message.model} {number}"))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await delivery.reply(ChatDelta(body="end"))

    async def follow(name: str) -> list[str]:
        heard: list[str] = []
        async with gateway.open(CHAT.model_copy(update={"model": name}), to=CHAT_REQUESTS, timeout=60) as call:
            while isinstance(reply := await call.next(), ChatDelta) and reply.body != "end":
                heard.append(reply.body)
        return heard

    async with bus_of("gateway", redis_url) as gateway, bus_of("router", redis_url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: speak})
        async with asyncio.TaskGroup() as tasks:
            following = {name: tasks.create_task(follow(name)) for name in "abcdefgh"}
    assert {name: task.result() for name, task in following.items()} == {
        name: [f"{name} {number}" for number in range(200)] for name in following
    }
