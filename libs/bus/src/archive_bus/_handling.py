"""From an entry to its settlement: decode, run the handler, and do what its outcome demands."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from archive_bus._apart import Rest, begin_apart
from archive_bus._durations import CUT_OFF, DONE, FAILED, REJECTED, Durations
from archive_bus._errors import (
    BusError,
    BusUnavailable,
    LeaseLost,
    PayloadError,
    Reject,
    Retry,
    UnknownType,
    WrongReturn,
)
from archive_bus._gate import Gate
from archive_bus._held import Held, runs_of
from archive_bus._inbox import Turn
from archive_bus._lease import Lease, clock
from archive_bus._payload import Payloads, decoded, is_whole
from archive_bus._settlers import Settlers
from archive_bus._transport import Lane, Starts, Transport
from archive_bus._verdicts import EXPIRED, FATAL, backoff, failure
from archive_contracts.base import Message, Problem
from archive_contracts.envelope import Envelope, EnvelopeError

log = logging.getLogger(__name__)

OUTAGE_PAUSE_S = 0.5
REPEAT_PAUSE_S = 1.0
CAUSE_LIMIT = 4000
ONLY = b"only"
"""The field of a replayed entry that names the one group it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a consumer does with messages.

    ``run`` is the handler with what surrounds it, to be run in a context of its own; ``refuse`` tells a waiting caller
    that its request failed; ``bury`` lets the service end what depended on a message that is given up; ``inbox`` is how
    long the group remembers what it has handled.
    """

    handlers: Mapping[type[Message], Any]
    run: Callable[[Envelope, Message, Held], Coroutine[Any, Any, None]]
    refuse: Callable[[Envelope, Problem, Lease], Awaitable[object]]
    bury: Callable[[Envelope, Message, Held, Problem], Awaitable[None]]
    payloads: Payloads
    inbox: timedelta | None = None


class Handling:
    """Settles entries of one lane."""

    def __init__(self, lane: Lane, transport: Transport, work: Work, *, gate: Gate, settlers: Settlers) -> None:
        self.counts: Counter[str] = Counter()
        self.durations = Durations()
        self._lane = lane
        self._group = lane.group.encode()
        self._half_lease_s = lane.stream.lease.total_seconds() / 2
        self._transport = transport
        self._work = work
        self._gate = gate
        self._settlers = settlers

    def begin(self, held: Held) -> Coroutine[Any, Any, None] | None:
        """Begin an entry; what is returned is to be awaited at once, and raises as settle. None: it is done.

        The handler of what is new and plain is called right here, and most of them have ended when they return.
        """
        entry = held.entry
        special = entry.redelivered or ONLY in entry.fields or self._work.inbox is not None
        if special or held.until - clock() < self._half_lease_s:
            return self.settle(held)
        try:  # a reference to a blob is no JSON, and goes the other way as what is wrong does
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
            message = decoded(envelope)
        except (EnvelopeError, PayloadError):
            return self.settle(held)
        if type(message) not in self._work.handlers or _is_late(envelope):
            return self.settle(held)
        # Nothing is known of it, and what has ended before it ever had to wait need not be told to begin.
        held.attempt = 1
        return self._call(held, envelope, message)

    async def settle(self, held: Held) -> None:
        """Decode, run and settle one entry.

        Raises:
            BusUnavailable: a server that the entry needs is away.
            LeaseLost: another consumer has it.
        """
        entry = held.entry
        if entry.redelivered:
            self.counts["redelivered"] += 1
        if ONLY in entry.fields and entry.fields[ONLY] != self._group:
            await self._acknowledge(held)
            return
        if held.until - clock() < self._half_lease_s:
            # It has lain here through a stall, or the read that brought it took long.
            await held.confirm(renew=True)
        try:
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
        except EnvelopeError as error:
            await self._bury(held, "undecodable", str(error))
            return
        try:
            message = decoded(envelope) if is_whole(envelope) else await self._work.payloads.message(envelope)
            for_us = type(message) in self._work.handlers
            if not for_us and type(message) not in self._lane.stream.messages:
                raise UnknownType(f"{self._lane.stream.name} carries no {message.type}")
        except PayloadError as error:
            await self._work.refuse(envelope, error.problem(), held)
            await self._bury(held, error.code, str(error), envelope)
            return
        if not for_us:
            await self._acknowledge(held)
        elif _is_late(envelope):
            await self._expire(held, envelope)
        elif entry.redelivered or self._work.inbox:
            await self._execute(held, envelope, message)
        else:
            held.attempt = 1
            await self._attempt(held, envelope, message)

    async def _expire(self, held: Held, envelope: Envelope) -> None:
        self.counts["expired"] += 1
        await self._work.refuse(envelope, EXPIRED, held)
        await self._acknowledge(held)

    async def postpone(self, held: Held) -> None:
        """Run an entry again that an outage cut short; no attempt is charged unless its last one failed.

        Raises BusUnavailable: the server is still away.
        """
        held.settled = True
        await self._transport.release(self._lane, runs_of([held]), delay_s=OUTAGE_PAUSE_S, failed=held.spent)

    async def _acknowledge(self, held: Held) -> None:
        """Acknowledge an entry; its inbox key goes with it at once, others travel together and are not waited for."""
        if held.settled:
            raise LeaseLost("the handler went on beyond the end of its subscription")
        held.settled = True
        if held.once and self._work.inbox:
            inboxes = self._transport.inboxes
            outcome = await inboxes.settle(self._lane, held.entry.id, held.once, window=self._work.inbox)
            held.acking = True
            self._settlers.settled(held, outcome)
            return
        if held.starting and self._settlers.start.withdraw(held):
            held.starting = None  # the acknowledgement would only undo it
        held.acking = True
        self._settlers.ack.add(held, None)

    async def _execute(self, held: Held, envelope: Envelope, message: Message) -> None:
        starts = await self._started(held)
        if starts.begun < 0:
            raise LeaseLost("another consumer took the message before it began")
        if starts.begun > self._lane.stream.attempts:
            held.attempt = self._lane.stream.attempts
            await self._mourn(held, envelope, message, FATAL)
            await self._bury(held, "attempts_exhausted", _why(starts), envelope)
            return
        held.attempt = starts.begun
        if starts.suspect:
            held.starting = None
        if self._work.inbox and not await self._is_first(held, envelope, self._work.inbox):
            return
        if not starts.suspect:
            await self._attempt(held, envelope, message)
            return
        async with self._gate.alone():
            # Noted only now: what ended the process while this one waited was something else.
            held.starting = self._settlers.alone.put(held)
            if (await asyncio.shield(held.starting)).begun < 0:
                raise LeaseLost("another consumer took the message before it began")
            await self._attempt(held, envelope, message)
            # Until that is known, what ended the process would look like its doing.
            await self._settlers.ack.idle()

    async def _started(self, held: Held) -> Starts:
        """Have a run noted; only a message that was delivered before can have a history worth waiting for."""
        if not held.entry.redelivered:
            held.begins()
            return Starts(begun=1, failed=0)
        held.starting = self._settlers.start.put(held)
        return await asyncio.shield(held.starting)

    async def _is_first(self, held: Held, envelope: Envelope, window: timedelta) -> bool:
        """Whether no other entry of the message has had its effect, or may be having it; else settle this one."""
        turn = await self._transport.inboxes.begin(self._lane, held.entry.id, envelope.id, window=window)
        if turn is Turn.LOST:
            raise LeaseLost("another consumer took the message before it began")
        if turn is Turn.NOW:
            held.once = envelope.id
            return True
        if turn is Turn.DONE:
            self.counts["repeated"] += 1
            await self._acknowledge(held)
        else:
            held.settled = True
            await self._transport.release(self._lane, runs_of([held]), delay_s=REPEAT_PAUSE_S)
        return False

    async def _attempt(self, held: Held, envelope: Envelope, message: Message) -> None:
        if clock() >= held.until:
            # What was waited for until now came after a freeze, in which another consumer may have begun it.
            await held.confirm()
        if _is_late(envelope):
            await self._expire(held, envelope)  # it had to wait for others to leave, or for its run to be noted
        elif rest := self._call(held, envelope, message):
            await rest

    def _call(self, held: Held, envelope: Envelope, message: Message) -> Coroutine[Any, Any, None] | None:
        """Call the handler; what is returned is to be awaited at once. None: the message is done."""
        began = time.monotonic()
        held.ran = True
        if rest := begin_apart(self._work.run(envelope, message, held)):
            return self._see_through(held, envelope, message, rest, began)
        self.durations.note(DONE, time.monotonic() - began)
        if held.once:
            return self._acknowledge(held)
        # As _acknowledge does: nobody has seen to its end, for the loop did not turn since it began.
        held.settled = held.acking = True
        self._settlers.ack.add(held, None)
        return None

    async def _see_through(self, held: Held, envelope: Envelope, message: Message, rest: Rest, began: float) -> None:
        """Wait for a handler, and do what its outcome demands."""
        outcome = CUT_OFF
        if rest.waits:
            held.waits()
        try:
            await rest
        except Reject as verdict:
            outcome = REJECTED
            held.begins()
            await self._mourn(held, envelope, message, verdict.problem)
            await self._bury(held, verdict.problem.code, str(verdict), envelope)
        except WrongReturn as error:
            # What the handler did is done: to run it again would double it.
            outcome = REJECTED
            held.begins()
            await self._mourn(held, envelope, message, error.problem())
            await self._bury(held, error.code, str(error), envelope)
        except Retry as verdict:
            outcome = FAILED
            await self._again(held, envelope, message, verdict)
        except (BusUnavailable, LeaseLost):
            raise
        except Exception as error:  # a handler may raise anything: it is an attempt
            if held.lost:
                raise LeaseLost("the handler had lost its message before it failed") from error
            outcome = FAILED
            log.exception("%s: attempt %d at %s failed", self._lane.key, held.attempt, envelope.type)
            await self._again(held, envelope, message, error)
        else:
            outcome = DONE
            await self._acknowledge(held)
        finally:
            self.durations.note(outcome, time.monotonic() - began)

    async def _again(self, held: Held, envelope: Envelope, message: Message, error: Exception) -> None:
        held.spent = True
        if held.attempt >= self._lane.stream.attempts:
            held.begins()
            problem = error.problem() if isinstance(error, BusError) else failure(error)
            await self._mourn(held, envelope, message, problem)
            await self._bury(held, "attempts_exhausted", f"{type(error).__name__}: {error}", envelope)
            return
        held.settled = True
        self.counts["retried"] += 1
        delay_s = error.delay_s if isinstance(error, Retry) else None
        delay_s = backoff(held.attempt) if delay_s is None else delay_s
        await self._transport.release(self._lane, runs_of([held]), delay_s=delay_s, failed=True)

    async def _mourn(self, held: Held, envelope: Envelope, message: Message, problem: Problem) -> None:
        """Tell whoever waits that a message is given up, before it goes: afterwards nobody would come back to it."""
        await self._work.refuse(envelope, problem, held)
        try:
            await self._work.bury(envelope, message, held, problem)
        except (BusUnavailable, LeaseLost):
            raise
        except Exception:  # what a service does at the end of a message must not keep it from being buried
            log.exception("%s: what follows the end of a %s failed", self._lane.key, envelope.type)

    async def _bury(self, held: Held, code: str, cause: str, envelope: Envelope | None = None) -> None:
        held.settled = True
        log.error("%s: %s goes to the dead letters: %s: %s", self._lane.key, held.entry.id, code, cause)
        facts = {
            "code": code,
            "cause": cause[:CAUSE_LIMIT],
            "type": envelope.type if envelope else "",
            "attempts": str(held.attempt),
        }
        moved = await self._transport.bury(self._lane, held.entry, facts)
        # As with an acknowledgement: a first copy of this command may have moved it.
        held.over = moved or clock() < held.until
        if held.over:
            self.counts["dead"] += 1


def _is_late(envelope: Envelope) -> bool:
    return envelope.deadline != 0 and envelope.deadline < time.time() * 1000


def _why(starts: Starts) -> str:
    """Say why a message is buried that is not begun again."""
    if starts.failed >= starts.begun - 1:
        return f"it failed {starts.failed} times; the server could not take the last cause"
    return f"{starts.begun - 1 - starts.failed} of its runs ended without a word, as when a process is killed or frozen"
