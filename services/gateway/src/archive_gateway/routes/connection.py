"""The client's end of a request: whether it is still there, and what it sends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from starlette.types import Receive

from archive_gateway.domain.errors import TooLarge, TooSlow
from archive_web import BodyTooSlow, bounded


class ClientLeft(Exception):
    """The client closed the connection before it had its answer."""


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncGenerator[None, None]:
    """Run a block that ends with ClientLeft as soon as the client disconnects.

    The body of the request must have been read: what comes then is the end of the connection. An exception of the
    block leaves as it is, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_until_gone(receive))
            yield
            watching.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def _until_gone(receive: Receive) -> NoReturn:
    while True:
        if (await receive())["type"] == "http.disconnect":
            raise ClientLeft


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises:
        ClientLeft: it stays incomplete.
        TooSlow: it comes in drips.
    """
    receiving, more = bounded(receive), True
    while more:
        try:
            message = await receiving()
        except BodyTooSlow as error:
            raise TooSlow(error.message, next_step=error.next_step) from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        if part := message.get("body", b""):
            yield part
        more = message.get("more_body", False)


async def whole(receive: Receive, *, limit: int, announced: bytes | None) -> bytes:
    """Return the body, refusing early what says of itself that it is too large.

    Raises:
        TooLarge: more than ``limit`` bytes.
        ClientLeft: the body stays incomplete.
    """
    check_announced(announced, limit=limit, setting="GATEWAY_MAX_BODY_MB")
    parts: list[bytes] = []
    size = 0
    async for part in chunks(receive):
        size += len(part)
        if size > limit:
            raise TooLarge("The request body", limit=limit, setting="GATEWAY_MAX_BODY_MB")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_announced(announced: bytes | None, *, limit: int, setting: str, framing: int = 0) -> None:
    """Raise TooLarge when ``content-length`` is over the limit and what may frame it: not a byte need be sent then."""
    if announced is not None and announced.isdigit() and int(announced) > limit + framing:
        raise TooLarge("The request body", limit=limit, setting=setting)
