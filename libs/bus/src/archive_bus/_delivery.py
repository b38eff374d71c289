"""What a handler receives, and what it publishes in answer."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from archive_bus._calls import Call
from archive_bus._ending import Ending
from archive_bus._held import Held
from archive_bus._large import Large
from archive_bus._lease import Lease
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Stream

if TYPE_CHECKING:
    from archive_bus._bus import Bus

M = TypeVar("M", bound=Message)
A = TypeVar("A", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a message comes from: what its followers inherit.

    ``deadline`` is milliseconds since the epoch, 0 for none; ``reply`` the address of a caller who waits; ``log`` the
    id under which the answer is kept while it streams.
    """

    tenant: str = "default"
    correlation: str = ""
    causation: str = ""
    deadline: int = 0
    traceparent: str = ""
    tracestate: str = ""
    reply: str = ""
    log: str = ""
    shadow: str = ""

    @cached_property
    def inherited(self) -> Mapping[str, str | int]:
        """The fields of an envelope that follow from it, without empty ones."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}

    @cached_property
    def without_caller(self) -> "Origin":
        """The same for what nobody waits for."""
        return replace(self, reply="", log="")


@dataclass(frozen=True, slots=True)
class Received(Generic[M_co]):
    """A message as it lay on a stream."""

    entry_id: str
    envelope: Envelope
    message: M_co


class Delivery(Generic[M]):
    """One message in the hands of a handler.

    A handler that returns acknowledges; one that raises is retried with back-off, unless it raises Retry (with a delay
    of its own) or Reject (never again). While it runs the bus renews the ``lease``; should it be lost all the same, the
    handler is cancelled and whatever it still publishes is refused with LeaseLost.

    ``fence`` grows with each owner of an ordered partition, and is 0 elsewhere: a store that keeps the highest it has
    seen and refuses lower ones cannot be written to by an owner that does not know yet that it was replaced.
    """

    # Of the class until they change: one is made for each message, and most of it never does.
    fence = 0
    _traceparent = ""
    _told = 0
    _begun = False
    _origin: Origin | None = None
    _large: Large | None = None
    _outputs: dict[str, int] | None = None

    def __init__(self, bus: "Bus", envelope: Envelope, message: M, held: Held) -> None:
        self._bus = bus
        self._held = held
        self.envelope = envelope
        self.message = message

    def hand_on(self, traceparent: str) -> None:
        """Let outputs inherit a ``traceparent`` that is not the message's own."""
        self._traceparent = traceparent

    @property
    def attempt(self) -> int:
        """Which run over the message this is, from 1 on."""
        return self._held.attempt

    @property
    def lease(self) -> Lease:
        """The right to act on the message."""
        return self._held

    @property
    def origin(self) -> Origin:
        """Where the message comes from: what its outputs inherit."""
        if self._origin is None:
            envelope = self.envelope
            self._origin = Origin(
                tenant=envelope.tenant,
                correlation=envelope.correlation or envelope.id,
                causation=envelope.id,
                deadline=envelope.deadline,
                traceparent=self._traceparent or envelope.traceparent,
                tracestate=envelope.tracestate,
                reply=envelope.reply,
                log=envelope.log,
                shadow=envelope.shadow,
            )
        return self._origin

    def derived_id(self, message: Message) -> str:
        """Return the id of the next output: the same for each run over this message, so that a retry adds nothing."""
        outputs = self._outputs = self._outputs or {}
        place = outputs[message.type] = outputs.get(message.type, 0) + 1
        seed = f"{self.envelope.id}\n{message.type}\n{place}"
        return blake2b(seed.encode(), digest_size=16).hexdigest()

    async def publish(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "",
        reply: bool = False,
        delay: timedelta | None = None,
    ) -> str:
        """Publish an output. With ``reply`` the caller of this message becomes the caller of the output."""
        origin = self.origin if reply else self.origin.without_caller
        return await self._bus.publish(
            message,
            to=to,
            partition=partition,
            origin=origin,
            id=self.derived_id(message),
            lease=self._held,
            delay=delay,
        )

    async def append(
        self,
        message: Message,
        *,
        to: Stream,
        entity: str,
        id: str | None = None,  # noqa: A002 - CloudEvents' own word
        expected: int | None = None,
    ) -> str:
        """Append an output to a journal, once for each id, by default its place among this run's outputs."""
        origin = self.origin.without_caller
        output = id or self.derived_id(message)
        return await self._bus.append(
            message, to=to, entity=entity, origin=origin, id=output, expected=expected, lease=self._held
        )

    async def journal(self, stream: Stream, entity: str) -> list[Received[Message]]:
        """Return the journal of an entity."""
        return await self._bus.journal(stream, entity)

    async def request(
        self, message: Message, answer: type[A], *, to: Stream, partition: str = "", timeout: float = 10.0
    ) -> A:
        """Ask another service, inside this message's deadline; raises as Bus.request."""
        origin = self.origin.without_caller
        return await self._bus.request(
            message, answer, to=to, partition=partition, origin=origin, timeout=timeout, lease=self._held
        )

    def open(
        self, message: Message, *, to: Stream, partition: str = "", timeout: float = 10.0
    ) -> AbstractAsyncContextManager[Call]:
        """Ask another service for many replies, inside this message's deadline; as Bus.open."""
        origin = self.origin.without_caller
        return self._bus.open(message, to=to, partition=partition, origin=origin, timeout=timeout, lease=self._held)

    async def reply(self, message: Message) -> bool:
        """Answer the caller for good and wait until that is written. False: nobody waits, and nothing is kept."""
        return await self._say(message, seq=self._told + 1, last=True)

    def emit(self, message: Message) -> Awaitable[bool]:
        """Answer the caller with one of many messages. They keep their order; awaiting one waits for its write.

        Large ones go through the blob store: what follows waits for them, and the message is not done before. While
        tens of thousands wait for the server, more are not written: the caller hears of the gap.
        """
        if not self._begun:
            self._begun = True
            self._bus.mark_begun(self.envelope.id)
        self._told += 1
        return self._say(message, seq=self._told, last=False)

    def _say(self, message: Message, *, seq: int, last: bool) -> Awaitable[bool]:
        if self._large and self._large.passed:
            self._large = None
        said = self._bus.reply(message, origin=self.origin, seq=seq, last=last, lease=self._held, behind=self._large)
        if isinstance(said, Large):
            self._large = said
        return said

    @property
    def unsaid(self) -> Large | None:
        """The last reply that waits for the blob store, or for one that does; None when all are on their way."""
        return self._large

    @property
    def told(self) -> int:
        """How many replies were sent, by this run, and where a log tells of them by others before it."""
        return self._told

    def go_on_behind(self, told: int) -> None:
        """Place the next reply behind so many that were sent over the message which led to this one."""
        self._told = max(self._told, told)

    async def interrupted(self) -> bool:
        """Whether an earlier run had begun to answer and did not end: repeating it would double what the caller has."""
        # Not the attempt tells: a run that a drain or an outage cut short is not counted, but its caller heard it.
        return self._held.entry.redelivered and await self._bus.begun(self.envelope.id)

    async def cancelled(self, target: str = "") -> bool:
        """Whether somebody asked to stop ``target``, by default this message."""
        return await self._bus.cancelled(target or self.envelope.id)

    async def cancel(self, target: str) -> None:
        """Ask whoever works on ``target`` to stop."""
        await self._bus.cancel(target, origin=self.origin.without_caller)

    async def fail(self, problem: Problem) -> bool:
        """Answer the caller with a problem."""
        return await self.reply(Failed(problem=problem))

    def while_heard(self) -> AbstractContextManager[anyio.CancelScope]:
        """Return a scope that ends when the caller's process is gone, unless the answer is kept for others."""
        return self._bus.while_heard(self._listener)

    @property
    def _listener(self) -> str:
        # A message that never had a caller is worth its work too: somebody publishes it for its effects.
        return "" if self.envelope.log else self.envelope.reply.partition("/")[0]

    def wanted(self, *targets: str) -> Ending:
        """Return a block that ends when nobody wants its outcome: a target is cancelled, or the caller is gone.

        The targets are as for ``cancellable``, the caller as for ``while_heard``; the block itself is a cheaper one.
        """
        return self._bus.wanted(*(targets or (self.envelope.id,)), process=self._listener)

    def cancellable(self, *targets: str) -> AbstractContextManager[anyio.CancelScope]:
        """Return a scope that ends when somebody cancels one of the targets, by default this message."""
        return self._bus.cancellable(*(targets or (self.envelope.id,)))


Handler = Callable[[Delivery[M]], Awaitable[None]]

OnDead = Callable[[Delivery[M], Problem], Awaitable[None]]
"""Ends what waited for a message that is given up."""
