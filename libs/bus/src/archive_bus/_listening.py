"""What a bus hears of beside its work: broadcasts, journals, kept answers, cancellations, callers that are gone."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from datetime import timedelta

import anyio

from archive_bus._answers import Answered, Answers
from archive_bus._callers import Callers
from archive_bus._cancelling import TOMBSTONE_LIFE, Cancels
from archive_bus._delivery import Origin, Received
from archive_bus._ending import Ending
from archive_bus._errors import BusUnavailable
from archive_bus._following import Follower
from archive_bus._publishing import Publishing
from archive_bus._transport import Transport
from archive_contracts.base import Message
from archive_contracts.control import CancelRequested
from archive_contracts.streams import CONTROL, Server, Stream


class Listening(Publishing):
    """What a bus follows without a group."""

    _answers: Answers
    _callers: Callers
    _cancels: Cancels
    _follower: Follower
    _transport: Transport

    def follow(
        self, stream: Stream, *, partition: str = "0", since: timedelta = timedelta(0)
    ) -> AsyncIterator[Received[Message] | None]:
        """Yield messages of a stream without a group, from ``since`` ago; None about once a second when none come."""
        return self._follower.recent(stream, partition, since)

    async def reachable(self) -> bool:
        """Whether the bus server answers, however it is set up: who follows it hears the same in silence and outage."""
        try:
            await self._transport.marked("cancelled:", server=Server.BUS)
        except BusUnavailable:
            return False
        return True

    async def journal(self, stream: Stream, entity: str, *, after: str = "0-0") -> list[Received[Message]]:
        """Return the journal of an entity, after an entry's id."""
        return await self._follower.read(stream, entity, after)

    def follow_journal(
        self, stream: Stream, entity: str, *, after: str = "0-0"
    ) -> AsyncIterator[Received[Message] | None]:
        """Yield the journal of an entity from an entry's id on, as it grows; None about once a second when idle."""
        return self._follower.from_id(stream.physical(entity), stream.server, after)

    def follow_log(self, log_id: str, *, tenant: str = "default", after: int = 0) -> AsyncIterator[Answered | None]:
        """Yield an answer from a place on, as it grows, to its end; None about once a second when idle.

        Raises:
            NoSuchLog: the tenant has no such answer, or it was kept no longer.
        """
        return self._answers.follow(log_id, tenant=tenant, after=after)

    async def log(self, log_id: str, *, tenant: str = "default", after: int = 0) -> list[Answered]:
        """Return what is kept of an answer behind a place now: unlike one who follows it, an outage is told apart.

        Raises:
            NoSuchLog: the tenant has no such answer, or it was kept no longer.
            BusUnavailable: the server that keeps it does not answer.
        """
        return await self._answers.read(log_id, tenant=tenant, after=after)

    async def cancel(self, target: str, *, reason: str = "", origin: Origin | None = None) -> None:
        """Ask whoever works on ``target`` to stop, also when it has not begun yet."""
        await self._cancels.mark(target)
        await self.publish(CancelRequested(target=target, reason=reason), to=CONTROL, origin=origin)

    async def cancelled(self, target: str) -> bool:
        """Whether somebody asked to stop ``target`` within the last hour."""
        return await self._cancels.marked(target)

    def mark_begun(self, message_id: str) -> None:
        """Note, in order with the replies, that an answer to a message has begun."""
        self._transport.mark(f"begun:{message_id}", server=Server.STATE, lifetime=TOMBSTONE_LIFE)

    async def begun(self, message_id: str) -> bool:
        """Whether a run over this message, this one or an earlier, has begun to answer."""
        return await self._transport.marked(f"begun:{message_id}", server=Server.STATE)

    def cancellable(self, *targets: str) -> AbstractContextManager[anyio.CancelScope]:
        """Run a block that ends when one of the targets is cancelled; see ``scope.cancelled_caught``.

        Check ``cancelled`` inside the block: the request may be older, or come while it is looked for.
        """
        return self._cancels.scope(*targets)

    def while_heard(self, process: str) -> AbstractContextManager[anyio.CancelScope]:
        """Run a block that ends when a calling process is gone; one without a name never is."""
        return self._callers.scope(process)

    def wanted(self, *targets: str, process: str = "") -> Ending:
        """Run a block that ends when one of the targets is cancelled, or the calling process is gone.

        At a tenth of the price of the two above, for handlers of which thousands run; see ``Ending`` for what differs.
        """
        names = [(self._cancels.endings, target) for target in targets]
        return Ending(*names, (self._callers.endings, process)) if process else Ending(*names)
