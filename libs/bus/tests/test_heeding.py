"""A task that asks a server ends when it is told to, whatever it is doing at that moment."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio

from archive_bus import open_client


async def test_cancelled_asker_always_ends(redis_url: str) -> None:
    client = open_client(redis_url)

    async def ask() -> None:
        while True:
            await client.set("asked", "x" * 64_000)

    async with asyncio.TaskGroup() as tasks:
        for turns in range(150):
            asking = tasks.create_task(ask())
            for _ in range(turns % 15 + 1):
                await asyncio.sleep(0)
            asking.cancel()
            _, pending = await asyncio.wait([asking], timeout=10)
            assert not pending, f"cancelled after {turns % 15 + 1} turns, it goes on"
    await client.aclose()


async def _write_ended_by(client: Any, end: Callable[[], object]) -> None:
    """Write where the write ends in the moment of the cancellation."""
    connection: Any = await client.connection_pool.get_connection()

    async def written(_: object) -> None:
        end()

    connection._send_packed_command = written
    await connection.send_packed_command(b"")


async def test_cancellation_in_a_write_is_heeded(redis_url: str) -> None:
    client = open_client(redis_url)
    task = asyncio.current_task()
    assert task is not None
    try:
        await _write_ended_by(client, task.cancel)
    except asyncio.CancelledError:
        task.uncancel()
    else:
        raise AssertionError("the cancellation was lost")
    await client.aclose()


async def test_time_out_in_a_write_stays_one(redis_url: str) -> None:
    client = open_client(redis_url)
    with anyio.move_on_after(60) as scope:
        await _write_ended_by(client, scope.cancel)
        raise AssertionError("the cancellation was lost")
    assert scope.cancelled_caught
    await client.aclose()
