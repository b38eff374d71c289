"""Conversations are remembered, told of, recalled and forgotten."""

import asyncio
from datetime import timedelta

import pytest
from memory_peers import Client, Engine

from archive_bus import Bus
from archive_contracts.base import Message, Problem
from archive_contracts.memory import ForgetMemory, GetMemory, MemoriesFound, MemoryForgotten, MemoryStored
from archive_contracts.streams import MEMORY_EVENTS


@pytest.mark.usefixtures("memory", "served")
async def test_turns_are_remembered_and_forgotten(client: Client) -> None:
    await client.chatted("I live in Turin with two cats", "Noted!", id="exchange")
    await client.chatted("The weather is fine", "")
    turns = await client.remembered(3)
    best = (await client.recall("How many cats live in Turin?"))[0]
    assert sorted((turn.role, turn.session) for turn in turns) == [("assistant", "s"), ("user", "s"), ("user", "s")]
    assert best.text.startswith("I live in Turin")
    assert best.similarity
    assert best.similarity > 0.5
    assert (await client.ask(GetMemory(memory_id=best.id), MemoriesFound)).items[0].text == best.text
    await client.ask(ForgetMemory(memory_id=best.id), MemoryForgotten)
    assert best.id not in {item.id for item in await client.recall("cats in Turin")}
    missing = await client.refused(ForgetMemory(memory_id=best.id))
    assert (missing.status, missing.code) == (404, "memory_not_found")
    assert (await client.refused(GetMemory(memory_id=best.id))).status == 404


@pytest.mark.usefixtures("memory", "served")
async def test_what_is_remembered_is_told(client: Client) -> None:
    await client.chatted("I live in Turin", "")
    (turn,) = await client.remembered(1)
    await client.ask(ForgetMemory(memory_id=turn.id), MemoryForgotten)
    told: list[Message] = []
    async with asyncio.timeout(10):
        async for received in client.bus.follow(MEMORY_EVENTS, since=timedelta(minutes=1)):
            if received:
                told.append(received.message)
            if len(told) == 2:
                break
    assert told == [MemoryStored(memory_id=turn.id, session="s"), MemoryForgotten(memory_id=turn.id)]


@pytest.mark.usefixtures("memory", "hasty")
async def test_exchanges_wait_for_their_engine(client: Client, engine: Engine, lane: Bus) -> None:
    for number in range(6):
        await client.chatted(f"I live in house number {number}", "", id=f"exchange-{number}")
    await asyncio.sleep(0.3)
    engine.serve(lane)
    await client.remembered(6)
    assert all(item.similarity is not None for item in await client.recall("Which house?"))


@pytest.mark.usefixtures("memory")
async def test_refused_exchange_is_remembered_by_words(client: Client, served: Engine) -> None:
    served.problem = Problem(code="bad_texts", message="Too odd.", next_step="Clean them.", status=400)
    await client.chatted("I live in Turin", "")
    await client.remembered(1)
    assert len(served.asked) == 1


@pytest.mark.usefixtures("memory", "hasty")
async def test_turns_without_vectors_are_found_by_words(client: Client) -> None:
    await client.chatted("I live in Turin", "")
    await client.remembered(1)
    (found,) = await client.recall("Turin")
    assert (found.text, found.similarity) == ("I live in Turin", None)
