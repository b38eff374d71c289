"""The delivery rules: what happens to a message between the moment it is read and the moment it is settled."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from archive_bus._coalesce import Coalescer
from archive_bus._errors import BusError, BusUnavailable, PayloadError, Reject, Retry
from archive_bus._gate import Gate
from archive_bus._transport import Entry, Lane, Starts, Transport
from archive_contracts.base import Message, Problem
from archive_contracts.envelope import Envelope, EnvelopeError
from archive_contracts.streams import TYPES

log = logging.getLogger(__name__)

Run = Callable[[Envelope, Message, int, bool], Awaitable[None]]
"""Runs the handler for a message; (envelope, message, attempt, delivered before)."""

OUTAGE_PAUSE_S = 0.5
SUSPECT_AFTER = 2
"""Runs that took their process with them, after which a message runs alone."""


class Consumer:
    """Handles the entries of one lane, at most ``concurrency`` at a time."""

    def __init__(
        self,
        *,
        lane: Lane,
        transport: Transport,
        handlers: Mapping[type[Message], Any],
        run: Run,
        refuse: Callable[[Envelope, Problem], Awaitable[object]],
        load: Callable[[Envelope], Awaitable[bytes]],
        concurrency: int,
    ) -> None:
        self.lane = lane
        self.counts: Counter[str] = Counter()
        self.progressed = time.monotonic()
        self._transport = transport
        self._handlers = handlers
        self._run = run
        self._refuse = refuse
        self._load = load
        self._concurrency = concurrency
        self._gate = Gate(concurrency)
        self._owned: dict[str, asyncio.Task[None] | None] = {}
        self._begun: set[str] = set()
        self._counted: set[str] = set()
        self._settled: set[str] = set()
        self._lost: set[str] = set()
        self._draining = False
        self._pump: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Messages whose handler runs."""
        return len(self._begun)

    async def serve(self, *, prefetch: int) -> None:
        """Read, claim, renew and trim until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._start = Coalescer[str, Starts](self._count_starts, tasks)
            self._ack = Coalescer[str, bool](self._send_acks, tasks)
            self._tasks = tasks
            self._pump = tasks.create_task(self._transport.pump(self.lane, self._feed, prefetch=prefetch))
            tasks.create_task(self._every(self._scan_s(), self._claim))
            tasks.create_task(self._every(self.lane.stream.lease.total_seconds() / 3, self._renew))
            tasks.create_task(self._every(5.0, self._trim))

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back."""
        self._draining = True
        if self._pump:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await self._give_back([entry_id for entry_id in self._owned if entry_id not in self._begun], begun=False)
        await self._sweep()
        running = [task for entry_id in self._begun if (task := self._owned.get(entry_id))]
        if running:
            await asyncio.wait(running, timeout=grace_s)
        unfinished = set(self._begun)
        counted = unfinished & self._counted
        self._lost |= unfinished
        for entry_id in unfinished:
            if task := self._owned.get(entry_id):
                task.cancel()
        await self._give_back(list(counted), begun=True)
        await self._give_back(list(unfinished - counted), begun=False)
        await self._sweep()

    async def _sweep(self) -> None:
        """Hand back what the server gave to a read that was already cancelled."""
        try:
            unbegun = await self._transport.unbegun(self.lane)
        except BusUnavailable:
            return
        await self._give_back([entry_id for entry_id in unbegun if entry_id not in self._owned], begun=False)

    async def _give_back(self, ids: Sequence[str], *, begun: bool) -> None:
        if not ids:
            return
        self._settled.update(ids)
        try:
            await self._transport.hand_back(self.lane, ids, begun=begun)
            self.counts["handed_back"] += len(ids)
        except BusUnavailable:
            log.warning("cannot hand %d messages back to %s: they resume after their lease", len(ids), self.lane.key)

    def _scan_s(self) -> float:
        return min(1.0, self.lane.stream.lease.total_seconds() / 5)

    async def _every(self, period_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(period_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, hides nothing
            try:
                await act()
                self.progressed = time.monotonic()
            except BusUnavailable as error:
                log.warning("%s: %s; trying again", self.lane.key, error)

    async def _claim(self) -> None:
        free = self._concurrency - len(self._owned)
        if free > 0 and not self._draining:
            claimed = await self._transport.claim(self.lane, count=free)
            # After a stall longer than the lease some of them are in hand here already.
            await self._feed([entry for entry in claimed if entry.id not in self._owned])

    async def _renew(self) -> None:
        # Renewing what is on its way to be handed back or parked would undo it.
        mine = [entry_id for entry_id in self._owned if entry_id not in self._lost | self._settled]
        if not mine:
            return
        for entry_id in await self._transport.extend(self.lane, mine):
            if entry_id not in self._owned or entry_id in self._settled:
                continue
            self._lost.add(entry_id)
            self.counts["lost_lease"] += 1
            log.warning("%s: lost the lease of %s; its handler is cancelled", self.lane.key, entry_id)
            if task := self._owned.get(entry_id):
                task.cancel()

    async def _trim(self) -> None:
        await self._transport.trim(self.lane.stream, self.lane.partition)

    async def _count_starts(self, ids: Sequence[str]) -> Sequence[Starts]:
        return await self._transport.started(self.lane, ids)

    async def _send_acks(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self._transport.ack(self.lane, ids)

    async def _feed(self, entries: Sequence[Entry]) -> None:
        self.progressed = time.monotonic()
        if self._draining:
            await self._give_back([entry.id for entry in entries], begun=False)
            return
        for entry in entries:
            self._owned[entry.id] = None
        for entry in entries:
            await self._gate.enter()
            if self._draining or entry.id in self._lost:
                self._gate.leave()
                self._forget(entry.id)
                continue
            self._begun.add(entry.id)
            self._owned[entry.id] = self._tasks.create_task(self._handle(entry))
        await self._gate.free()

    async def _handle(self, entry: Entry) -> None:
        try:
            await self._settle(entry)
        except asyncio.CancelledError:
            if entry.id not in self._lost:
                raise
        except BusUnavailable as error:
            log.warning("%s: %s is not finished and will run again: %s", self.lane.key, entry.id, error)
            await self._postpone(entry)
        finally:
            self._forget(entry.id)
            self._gate.leave()

    async def _postpone(self, entry: Entry) -> None:
        """Run an entry again that an outage cut short; no attempt is charged, for nobody failed."""
        self._settled.add(entry.id)
        with contextlib.suppress(BusUnavailable):  # then its lease runs out
            if entry.id in self._counted:
                await self._transport.park(self.lane, entry.id, delay_s=OUTAGE_PAUSE_S, failed=False)
            else:
                await self._transport.hand_back(self.lane, [entry.id], begun=False)

    def _forget(self, entry_id: str) -> None:
        self._owned.pop(entry_id, None)
        for noted in (self._begun, self._counted, self._settled, self._lost):
            noted.discard(entry_id)

    async def _settle(self, entry: Entry) -> None:
        """Decode, run and settle one entry."""
        try:
            envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
        except EnvelopeError as error:
            await self._bury(entry, "undecodable", str(error))
            return
        try:
            message = await self._decode(envelope)
        except (_UnknownType, PayloadError, ValidationError) as error:
            await self._refuse_unread(entry, envelope, error)
            return
        if type(message) not in self._handlers:
            await self._acknowledge(entry)
        elif envelope.deadline and envelope.deadline < time.time() * 1000:
            self.counts["expired"] += 1
            await self._refuse(envelope, _EXPIRED)
            await self._acknowledge(entry)
        else:
            await self._execute(entry, envelope, message)

    async def _decode(self, envelope: Envelope) -> Message:
        model = TYPES.get(envelope.type)
        if model is None:
            raise _UnknownType(f"no message type {envelope.type!r} is known here")
        return model.model_validate_json(await self._load(envelope))

    async def _refuse_unread(self, entry: Entry, envelope: Envelope, error: Exception) -> None:
        code = error.code if isinstance(error, (PayloadError, _UnknownType)) else "undecodable"
        await self._refuse(envelope, _unread(code))
        await self._bury(entry, code, str(error), envelope)

    async def _acknowledge(self, entry: Entry) -> bool:
        self._settled.add(entry.id)
        return await self._ack.put(entry.id)

    async def _execute(self, entry: Entry, envelope: Envelope, message: Message) -> None:
        starting = self._start.put(entry.id)
        self._counted.add(entry.id)
        # Only a message that was delivered before can have a history worth waiting for.
        starts = await starting if entry.redelivered else Starts(begun=1, failed=0)
        if starts.begun > self.lane.stream.attempts:
            await self._refuse(envelope, _FATAL)
            await self._bury(entry, "attempts_exhausted", "its handler took the process down each time", envelope)
            return
        alone = starts.begun - 1 - starts.failed >= SUSPECT_AFTER
        async with self._gate.alone() if alone else contextlib.nullcontext():
            await self._attempt(entry, envelope, message, starts.begun)

    async def _attempt(self, entry: Entry, envelope: Envelope, message: Message, attempt: int) -> None:
        began = time.monotonic()
        try:
            await self._run(envelope, message, attempt, entry.redelivered)
        except Reject as verdict:
            await self._refuse(envelope, verdict.problem)
            await self._bury(entry, verdict.problem.code, str(verdict), envelope)
        except Retry as verdict:
            await self._again(entry, envelope, attempt, verdict, delay_s=verdict.delay_s)
        except BusUnavailable:
            raise
        except Exception as error:
            log.exception("%s: attempt %d at %s failed", self.lane.key, attempt, envelope.type)
            await self._again(entry, envelope, attempt, error, delay_s=None)
        else:
            if await self._acknowledge(entry):
                self.counts["done"] += 1
            else:
                self.counts["lost_lease"] += 1
        finally:
            self.counts["busy_us"] += int((time.monotonic() - began) * 1e6)

    async def _again(
        self, entry: Entry, envelope: Envelope, attempt: int, error: Exception, *, delay_s: float | None
    ) -> None:
        if attempt >= self.lane.stream.attempts:
            problem = error.problem() if isinstance(error, BusError) else _failure(error)
            await self._refuse(envelope, problem)
            await self._bury(entry, "attempts_exhausted", f"{type(error).__name__}: {error}", envelope)
            return
        self.counts["retried"] += 1
        self._settled.add(entry.id)
        await self._transport.park(self.lane, entry.id, delay_s=backoff(attempt) if delay_s is None else delay_s)

    async def _bury(self, entry: Entry, code: str, cause: str, envelope: Envelope | None = None) -> None:
        self.counts["dead"] += 1
        self._settled.add(entry.id)
        log.error("%s: %s goes to the dead letters: %s: %s", self.lane.key, entry.id, code, cause)
        facts = {"code": code, "cause": cause[:4000], "type": envelope.type if envelope else ""}
        await self._transport.bury(self.lane, entry, facts)


def backoff(attempt: int, *, first_s: float = 0.2, most_s: float = 30.0) -> float:
    """Return seconds to wait after the attempt: exponential with full jitter above a half."""
    return min(most_s, first_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load


class _UnknownType(Exception):
    code = "unknown_type"


_EXPIRED = Problem(
    code="deadline_exceeded",
    message="The request waited past its deadline and was not started.",
    next_step="Try again; if it happens often, add replicas of the service or raise the deadline.",
    status=504,
    retry_after_s=2.0,
)


_FATAL = Problem(
    code="internal_error",
    message="The request took down every process that tried it.",
    next_step="See 'archive dead list' for the message and the log of the service for the cause.",
    status=500,
)


def _unread(code: str) -> Problem:
    return Problem(
        code=code,
        message="The request cannot be read by the service it was sent to.",
        next_step="See 'archive dead list' for the cause; sender and service may be of different versions.",
        status=500,
    )


def _failure(error: Exception) -> Problem:
    return Problem(
        code="internal_error",
        message=f"The request failed: {type(error).__name__}.",
        next_step="See 'archive dead list' and the log of the service for the cause.",
        status=500,
    )
