"""The leases of what a consumer has in hand: renewed in time, and given up in time when the server cannot be asked."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

from archive_bus._adrift import Adrift
from archive_bus._errors import BusUnavailable
from archive_bus._held import Held
from archive_bus._lease import clock
from archive_bus._transport import Lane, Transport

RENEW_SHARE = 1 / 3
"""How much of a lease passes between two renewals of all."""
WATCH_SHARE = 1 / 20
"""How much of a lease passes between two looks at what is about to run out."""
LAST_SHARE = 1 / 4
"""How much of a lease is left when it is renewed out of turn."""
ANSWER_S = 0.4
"""How long a renewal may take even when nothing is left, as after a stall: a server that is there answers within it."""


def _for_ever() -> float:
    return math.inf


class Leases:
    """Renews the leases of the entries in ``held``; ``most`` is a moment by ``clock`` that none of them outlasts."""

    def __init__(
        self,
        lane: Lane,
        transport: Transport,
        held: Mapping[str, Held],
        adrift: Adrift,
        *,
        most: Callable[[], float] = _for_ever,
    ) -> None:
        self._lane = lane
        self._transport = transport
        self._held = held
        self._adrift = adrift
        self._most = most
        self._lease_s = lane.stream.lease.total_seconds()

    async def renew_all(self) -> None:
        """Renew what is in hand."""
        # Renewing what is on its way to be handed back or parked would undo it.
        await self.renew([held for held in self._held.values() if not (held.lost or held.settled)])

    async def renew(self, entries: Sequence[Held]) -> None:
        """Renew the leases of what is still owned; lose the rest. Raises BusUnavailable."""
        if not entries:
            return
        until = clock() + self._lease_s
        lost = set(await self._transport.extend(self._lane, [held.entry.id for held in entries]))
        for held in entries:
            if held.entry.id not in lost:
                held.until = min(until, self._most())
            elif not held.settled:
                held.lose()
        if self._most() <= clock():
            self._give_up(entries, before=clock())

    async def expire(self) -> None:
        """Cancel handlers whose lease runs out unrenewed: when cut off, they would run beside the next owner.

        Before that, and after a stall, the server is asked once more, for as long as is left.
        """
        ending = [held for held in self._held.values() if held.until < clock() + self._lease_s * LAST_SHARE]
        ending = [held for held in ending if not (held.lost or held.settled)]
        if not ending:
            return
        margin = self._lease_s * WATCH_SHARE
        left = min(held.until for held in ending) - clock()
        if left > 2 * margin:
            left -= margin
        with contextlib.suppress(BusUnavailable, TimeoutError):
            # Beyond the end of a lease only after a stall: until then nobody else can have begun.
            async with asyncio.timeout(left if left > 0 else ANSWER_S):
                await self.renew(ending)
        self._give_up(ending, before=clock() + margin * 2)

    def _give_up(self, entries: Sequence[Held], *, before: float) -> None:
        """Lose what ends so soon that its handler has to end now; the server hears of it when it can."""
        for held in entries:
            if held.until <= before and not (held.lost or held.settled):
                self._adrift.add(held)
                held.lose()
