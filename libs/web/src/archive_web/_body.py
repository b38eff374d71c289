"""Bodies of requests, bounded in size and in time."""

import asyncio
import time

from starlette.types import Message, Receive

from archive_web._errors import BodyTooLarge, BodyTooSlow

BODY_S = 30.0
"""For how long a body may come, and how many more seconds its bytes earn it."""
SLOWEST_BYTES_S = 2000


def bounded(receive: Receive, *, limit: int | None = None) -> Receive:
    """Return a way to receive one body that raises where it gets too large (``limit`` bytes) or too slow.

    What comes after the body, the end of the connection, is waited for without limit.

    Raises, when it is called:
        BodyTooLarge: more than ``limit`` bytes have come.
        BodyTooSlow: a slow line has its time; one byte now and then only holds a place.
    """
    size, began, more = 0, time.monotonic(), True

    async def receiving() -> Message:
        nonlocal size, more
        if not more:
            return await receive()
        try:
            async with asyncio.timeout(began + BODY_S + size / SLOWEST_BYTES_S - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow(
                f"The body has not come whole: {size} bytes in {time.monotonic() - began:.0f} s.",
                next_step="Send it faster.",
            ) from None
        size += len(message.get("body", b""))
        if limit is not None and size > limit:
            raise BodyTooLarge(limit)
        more = message.get("more_body", False)
        return message

    return receiving
