"""The end of a service's hold on a partition."""

from collections.abc import Awaitable, Callable


class Subscription:
    """The handling of one partition, which ends with the bus, or earlier when it is closed."""

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end: Callable[[], Awaitable[None]] | None = end

    async def close(self) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back; once."""
        end, self._end = self._end, None
        if end:
            await end()
