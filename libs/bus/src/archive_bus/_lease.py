"""How long a process may act on a message, known without asking anybody.

The server gives an entry to another consumer once its owner has been silent for the lease. A renewal that was sent at a
moment of our clock holds at least for a lease from there; what is written under the lease carries that end, translated
to the clock of the server it goes to, and is refused there when it comes too late. So a process that was frozen between
its last look at the clock and its write can do nothing with what it has lost.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

clock: Callable[[], float] = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds of a clock that no one sets and that goes on while the process or the machine sleeps."""


class Lease(Protocol):
    """The right to act on one message."""

    @property
    def until(self) -> float:
        """The end of the lease by ``clock``."""
        ...

    async def confirm(self, *, renew: bool = False) -> None:
        """Renew a lease that is over, with ``renew`` any, unless another consumer has taken the message.

        Raises:
            LeaseLost: another consumer has it.
            BusUnavailable: the server does not say.
        """
        ...

    def refuse(self) -> None:
        """Count an output that came too late, and cancel the handler."""
        ...
