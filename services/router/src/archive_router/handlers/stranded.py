"""Callers whose jobs lie where nobody will ever take them hear it now, not at their deadlines."""

import contextlib
import time
from collections.abc import Sequence
from datetime import timedelta

from archive_bus import Bus, BusUnavailable, Origin, Received
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.engine import GenerateRequested
from archive_contracts.streams import ENGINE_JOBS

LONGEST = timedelta(hours=1)
"""Nothing on a lane that has a deadline is older."""


async def tell_stranded(bus: Bus, lanes: Sequence[str]) -> bool:
    """Tell the caller of every job on these lanes that no engine is left, and have the jobs dropped.

    False: the bus went away before all were told. Telling somebody twice does no harm.
    """
    began = time.time() * 1000
    with contextlib.suppress(BusUnavailable):
        for lane in lanes:
            async for received in bus.follow(ENGINE_JOBS, partition=lane, since=LONGEST):
                if received is None:
                    # The end of the lane, or an outage: following outlives it and looks the same.
                    if not await bus.reachable():
                        return False
                    break
                if int(received.entry_id.partition("-")[0]) > began:
                    # Sent to a worker that has come since.
                    break
                await _tell(bus, received)
        return True
    return False


async def _tell(bus: Bus, received: Received[Message]) -> None:
    """Tell one caller. One that has its answer already hears nothing, for its call is closed and its log has ended."""
    envelope, job = received.envelope, received.message
    if envelope.deadline and envelope.deadline < time.time() * 1000:
        return
    # First of all: a worker that comes back must not begin what its caller was told is lost.
    target = job.request_id if isinstance(job, GenerateRequested) else envelope.id
    await bus.cancel(target, reason="no engine is left to serve it")
    origin = Origin(tenant=envelope.tenant, reply=envelope.reply, log=envelope.log)
    await bus.reply(Failed(problem=_NOBODY_LEFT), origin=origin)


_NOBODY_LEFT = Problem(
    code="no_engine",
    message="The engines that were to serve the request are gone.",
    next_step="See 'archive engines list' and the log of the engine; the request may be sent again at once.",
    status=503,
    retry_after_s=2.0,
)
