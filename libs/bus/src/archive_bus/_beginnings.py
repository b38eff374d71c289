"""Which handlers have run for so long that the server is told that they began."""

import asyncio

from archive_bus._held import Held

SOON_S = 0.1
"""How long a handler may take before that: what ends sooner costs one exchange with the server less."""


class Beginnings:
    """Handlers that wait for something, in two generations: each is told of after one to two times ``SOON_S``.

    One timer serves all of them; one each would cost as much as telling does.
    """

    def __init__(self) -> None:
        self._older: list[Held] = []
        self._younger: list[Held] = []

    def add(self, held: Held) -> None:
        """Have a start told unless the handler has ended by then."""
        if not (self._older or self._younger):
            self._look_later()
        self._younger.append(held)

    def _look_later(self) -> None:
        asyncio.get_running_loop().call_later(SOON_S, self._look)

    def _look(self) -> None:
        for held in self._older:
            if held.begun and not (held.settled or held.lost):
                held.begins()
        self._older, self._younger = self._younger, []
        if self._older:
            self._look_later()
