"""Waiting for what comes by itself, as long as it may take on a machine that is slow and shared."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
WITHIN_S = 60.0
"""A wait that ends early proves nothing."""
LOOK_S = 0.02


async def eventually(true: Callable[[], object], within: float = WITHIN_S) -> None:
    """Wait until something is true, which may have to be awaited; AssertionError when it does not become so."""
    try:
        async with asyncio.timeout(within):
            while True:
                found = true()
                if await found if inspect.isawaitable(found) else found:
                    return
                await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise AssertionError(f"not within {within:g} s") from error


async def becomes(ask: Callable[[], Awaitable[T]], wanted: T, within: float = WITHIN_S) -> None:
    """Wait until what is asked for is what is wanted; AssertionError with what it was instead."""
    until = time.monotonic() + within
    while (found := await ask()) != wanted:
        assert time.monotonic() < until, f"{found!r}, not {wanted!r}, after {within:g} s"
        await asyncio.sleep(LOOK_S)


def wait_for(
    true: Callable[[], object],
    within: float = WITHIN_S,
    *,
    every_s: float = 0.1,
    despite: tuple[type[Exception], ...] = (),
) -> None:
    """Wait where no event loop runs; until something is true, asking may fail in these ways."""
    until = time.monotonic() + within
    while True:
        with suppress(*despite):
            if true():
                return
        assert time.monotonic() < until, f"not within {within:g} s"
        time.sleep(every_s)
