"""What an operator's command does on the bus itself, and how its failure is told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from archive_bus import Bus, BusError, BusOptions, connect
from archive_cli.errors import CliError, NotRunningError

T = TypeVar("T")


def run(bus_url: str, state_url: str, work: Callable[[Bus], Awaitable[T]]) -> T:
    """Do something as the operator.

    Raises:
        NotRunningError: a server does not answer.
        CliError: it refuses.
    """

    async def whole() -> T:
        async with connect(bus_url, state_url, BusOptions(service="operator", grace_s=0.1)) as bus:
            return await work(bus)

    try:
        return asyncio.run(whole())
    except BusError as error:
        raise told(error) from error


def told(error: BusError) -> CliError:
    """Return what a failure of the bus is to the person at the terminal."""
    problem = error.problem()
    kind = NotRunningError if problem.status == 503 else CliError
    return kind(problem.message, code=problem.code, next_step=problem.next_step)
