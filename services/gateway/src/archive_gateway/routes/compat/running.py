"""A run of the agent on behalf of a client: admitted, billed, and billed all the same when its client has left."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from archive_bus import BusError, BusUnavailable
from archive_contracts.agents import ModelUse, RunAgent, RunFinished, RunModelReplied, RunResearch
from archive_contracts.streams import AGENT_COMMANDS, RUNS_JOURNAL
from archive_gateway.domain.errors import GatewayError
from archive_gateway.routes.asking import Conversation
from archive_gateway.routes.connection import while_connected
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.metering import Bill, Demand, Meter
from archive_gateway.routes.openai.streams import GRACE_S, Presence
from archive_gateway.routes.visit import Visit

ANSWER_TOKENS = 1024
"""What a run is taken to need when it begins; what it really took is settled at its end."""
LOOK_S = 0.5
STOPPED_WITHIN_S = 30.0
"""How long a run that was cancelled may take to say so."""

Command = RunResearch | RunAgent


@dataclass(frozen=True, slots=True)
class Running:
    """A run under way: its replies, and its account."""

    conversation: Conversation
    meter: Meter


@asynccontextmanager
async def running(
    desk: Desk, visit: Visit, command: Command, *, stream: str = "", presence: Presence | None = None
) -> AsyncGenerator[Running, None]:
    """Begin a run that counts for the key of its caller, while the client stays.

    Its calls of models are told by the agent when it has ended. Until a run that nobody waits for has stopped, it keeps
    its place among those of its key.

    Raises:
        LimitReached, Crowded, Guarded: the run may not begin.
    """
    turns = [text for turn in command.turns for text in (turn.question, turn.answer)]
    texts = [command.question, *turns]
    desk.metering.guardrails.check_messages(len(texts), max(map(len, texts)), param="question")
    chars, timeout = sum(map(len, texts)), desk.limits.run_s
    demand = Demand(model=command.model, prompt_chars=chars, answer_tokens=ANSWER_TOKENS, timeout_s=timeout)
    origin = replace(visit.origin, log=stream) if stream else visit.origin
    leave = presence.leave if presence else None
    bill, begun = await desk.metering.admit(visit.ticket, demand), False
    try:
        opened = desk.asking.open(command, to=AGENT_COMMANDS, origin=origin, timeout=timeout, leave=leave)
        async with opened as conversation:
            # A client may have left already: its run was published all the same.
            begun = True
            async with while_connected(visit.scope):
                yield Running(conversation, bill.meter)
    except (GatewayError, BusError):
        bill.meter.broke(None)
        raise
    finally:
        if bill.meter.answered or not begun:
            desk.metering.conclude(bill)
        else:
            desk.cancels.later(_billed_later(desk, command.run_id, bill, presence))


async def _billed_later(desk: Desk, run_id: str, bill: Bill, presence: Presence | None) -> None:
    """Conclude the bill of a run that goes on, or is about to stop, without its client here."""
    patience_s = STOPPED_WITHIN_S + (GRACE_S + desk.limits.run_s if presence else 0.0)
    account = _Account()
    try:
        async with asyncio.timeout(patience_s):
            while not account.ended:
                await asyncio.sleep(LOOK_S)
                await account.read_on(desk, run_id)
    except TimeoutError:
        pass
    finally:
        bill.meter.told(account.used, answered=False)
        desk.metering.conclude(bill)
    if presence:
        await presence.book_run(account.used)


class _Account:
    """What a run has used, and whether it has ended, as far as its journal was read."""

    def __init__(self) -> None:
        self._read_to = "0-0"
        self.used: Sequence[ModelUse] = ()
        self.ended = False

    async def read_on(self, desk: Desk, run_id: str) -> None:
        """Take in what is new, if the bus is there to tell."""
        try:
            news = await desk.bus.journal(RUNS_JOURNAL, run_id, after=self._read_to)
        except BusUnavailable:
            return
        for received in news:
            self._read_to = received.entry_id
            event = received.message
            if isinstance(event, RunModelReplied) and event.used:
                self.used = (*self.used, event.used)
            elif isinstance(event, RunFinished):
                self.used, self.ended = event.used or self.used, True
                return
