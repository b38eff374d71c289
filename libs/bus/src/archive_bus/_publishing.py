"""The publishing half of the port."""

from collections.abc import Awaitable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from archive_bus._delivery import Origin
from archive_bus._large import Large
from archive_bus._lease import Lease
from archive_bus._sending import Sender
from archive_contracts.base import Message
from archive_contracts.streams import Stream

UNKNOWN = Origin()


class Publishing:
    """What a bus puts on streams."""

    _sender: Sender

    def publish(
        self,
        message: Message,
        *,
        to: Stream,
        partition: str = "",
        origin: Origin | None = None,
        id: str | None = None,  # noqa: A002 - CloudEvents' own word
        timeout: float | None = None,
        lease: Lease | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
    ) -> Coroutine[Any, Any, str]:
        """Publish once for each id, waiting through an outage of the server. Returns the message id.

        Under a ``lease`` the message is an output of the one the lease is on, and ends with it. With ``delay`` or
        ``at`` consumers see it then, and never earlier, by the server's clock.

        Raises:
            NotInMap: the stream does not carry this type, or is not read by groups and cannot delay.
            LeaseLost: another process has taken over the message that this is an output of.
            BusUnavailable: the server did not answer within ``timeout`` (the service's patience by default).
        """
        return self._sender.publish(
            message,
            to=to,
            partition=partition,
            origin=origin or UNKNOWN,
            message_id=id,
            timeout=timeout,
            lease=lease,
            delay=delay,
            at=at,
        )

    async def append(
        self,
        message: Message,
        *,
        to: Stream,
        entity: str,
        origin: Origin | None = None,
        id: str | None = None,  # noqa: A002
        expected: int | None = None,
        timeout: float | None = None,
        lease: Lease | None = None,
    ) -> str:
        """Append to the journal of an entity, once for each id. Returns the entry's id.

        A message of the journal's ``listing`` is told there as well.

        Raises:
            JournalConflict: the journal is not ``expected`` entries long.
            BusUnavailable, LeaseLost: as publish.
        """
        return await self._sender.append(
            message,
            to=to,
            entity=entity,
            origin=origin or UNKNOWN,
            message_id=id,
            expected=expected,
            timeout=timeout,
            lease=lease,
        )

    def reply(
        self,
        message: Message,
        *,
        origin: Origin,
        seq: int = 0,
        last: bool = True,
        lease: Lease | None = None,
        behind: Large | None = None,
    ) -> Awaitable[bool]:
        """Write to a caller's reply stream and the log of the answer, in the order of the calls.

        ``seq`` is the place in the answer. One too large for an entry is a Large; what follows names it in ``behind``.
        False: nobody waits, and nothing is kept.
        """
        return self._sender.reply(message, origin=origin, seq=seq, last=last, lease=lease, behind=behind)
