"""Connections of redis-py that lose no cancellation.

redis-py writes under ``asyncio.wait_for``, which before Python 3.12 returns as if nothing had happened when what it
waits for ends in the moment of the cancellation (https://github.com/python/cpython/issues/81839). A loop that asks a
server now and then would go on for good, and whoever waits for its end would hang.
"""

import asyncio
from collections.abc import Awaitable
from functools import cache
from typing import Any, TypeVar

import anyio.lowlevel
from redis.asyncio.connection import AbstractConnection

R = TypeVar("R")


@cache
def heeding(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return the kind of connection with every step of it heeding a cancellation."""
    return type(f"Heeding{kind.__name__}", (_Heeding, kind), {})


class _Heeding(AbstractConnection):
    async def connect(self) -> None:
        await _heeded(super().connect())

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        sending = super().send_packed_command(command, check_health=check_health)
        # Without a time limit there is no wait_for that could lose anything.
        await (sending if self.socket_timeout is None else _heeded(sending))


async def _heeded(step: Awaitable[R]) -> R:
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    result = await step
    if task and task.cancelling() > before:
        # A cancel scope of anyio says it again, in words by which it knows its own: only that becomes its time-out.
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise asyncio.CancelledError
    return result
