# pyright: reportUnknownMemberType=false
# redis-py leaves the arguments of its commands and constructors partly untyped.
"""The limits of keys, shared by all gateways through the state server."""

import asyncio
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from archive_bus import open_client
from archive_gateway.domain.quota import Grant, LocalQuota, Quota, Reservation, beyond, needed
from archive_telemetry import counter, get_logger

log = get_logger(__name__)

PATIENCE_S = 0.25
REST_S = 1.0
"""For how long nobody asks a server that did not answer."""
SCRIPT = (files("archive_gateway") / "adapters" / "quota.lua").read_text()


class SharedQuota(Quota):
    """Asks the state server; this process counts alone while that is away, so that limits fail soft.

    ``clock`` is in seconds and does not go back.
    """

    def __init__(self, url: str, *, clock: Callable[[], float]) -> None:
        self._redis: Redis = open_client(url, connect_s=PATIENCE_S, answer_s=2.0)
        self._script = self._redis.register_script(SCRIPT)
        self._clock = clock
        self._local = LocalQuota()
        self._alone: set[str] = set()
        self._rests_until = 0.0
        self._settling: asyncio.Queue[tuple[Reservation, int, int]] = asyncio.Queue()
        self._soft = counter("archive_gateway_limits_alone", "Reservations counted without the state server.")

    async def reserve(self, wanted: Reservation) -> Grant:
        """Take what a request needs, or nothing when a limit forbids it."""
        if self._clock() >= self._rests_until:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    grant = _grant(await self._run("reserve", wanted, needed(wanted)))
                self._local.learn(wanted, grant, now=self._clock())
                return grant
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("limits are counted by this process alone", why=str(error) or type(error).__name__)
                self._rests_until = self._clock() + REST_S
        self._soft.inc()
        self._alone.add(wanted.id)
        return self._local.reserve(wanted, now=self._clock())

    def settle(self, taken: Reservation, *, tokens: int, requests: int = 1) -> None:
        """Give back what was not used, soon."""
        if taken.id in self._alone:
            self._alone.discard(taken.id)
            self._local.settle(taken, tokens=tokens, requests=requests, now=self._clock())
        else:
            self._settling.put_nowait((taken, tokens, requests))

    async def run(self) -> None:
        """Settle until cancelled. What the server does not hear of ends by itself: places in flight have a life."""
        while True:
            taken, tokens, requests = await self._settling.get()
            try:
                async with asyncio.timeout(2.0):
                    await self._run("settle", taken, needed(taken) - tokens, more=beyond(requests))
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("a reservation was not settled", key=taken.key, why=str(error) or type(error).__name__)
            finally:
                self._settling.task_done()

    async def close(self) -> None:
        """Settle what is left, for a moment, and disconnect."""
        try:
            async with asyncio.timeout(1.0):
                await self._settling.join()
        except TimeoutError:
            log.warning("reservations were left to expire", count=self._settling.qsize())
        await self._redis.aclose()

    async def _run(self, verb: str, reservation: Reservation, amount: int, *, more: int = 0) -> Any:
        limits = reservation.limits
        state = f"gateway:{{limits:{reservation.key}}}"
        return await self._script(
            keys=[state, f"{state}:held"],
            args=[
                verb,
                reservation.id,
                limits.requests_per_minute or 0,
                limits.tokens_per_minute or 0,
                limits.concurrent or 0,
                amount,
                int(reservation.life_s * 1000),
                "",
                more,
            ],
        )


def _grant(reply: Any) -> Grant:
    rule, wait_ms, requests, requests_ms, tokens, tokens_ms = reply
    return Grant(
        rule=rule.decode(),
        wait_s=wait_ms / 1000,
        requests_left=requests,
        requests_reset_s=requests_ms / 1000,
        tokens_left=tokens,
        tokens_reset_s=tokens_ms / 1000,
    )
