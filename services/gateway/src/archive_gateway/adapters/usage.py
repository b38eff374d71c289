# pyright: reportUnknownMemberType=false
# redis-py leaves the arguments of its commands and constructors partly untyped.
"""What was used, kept on the bus server: it is durable, and records must outlive what may be lost."""

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.resources import files
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from archive_bus import BusUnavailable, open_client
from archive_gateway.domain.usage import Account, Counts, UsageSheet
from archive_telemetry import get_logger

log = get_logger(__name__)

EVERY_S = 1.0
KEPT = timedelta(days=400)
PATIENCE_S = 2.0
MOST = 2**53
_APART = "\x1f"
_SCRIPT = (files("archive_gateway") / "adapters" / "usage.lua").read_text()


@dataclass(frozen=True, slots=True)
class _Page:
    """Counts of one day and tenant on their way; ``id`` makes a second try harmless."""

    id: str
    key: str
    fields: Sequence[str | int]


class UsageLedger:
    """Adds the sheet of this process to the ledger once a second, so that a request costs a few additions.

    A process killed with -9 loses what it wrote down in its last second.
    """

    def __init__(self, url: str, sheet: UsageSheet) -> None:
        self._redis: Redis = open_client(url, connect_s=1.0, answer_s=PATIENCE_S)
        self._script = self._redis.register_script(_SCRIPT)
        self._sheet = sheet
        self._pages: deque[_Page] = deque()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> bool:
        """Write what there is; False: the server is away and the rest is kept for the next time."""
        # Each write takes its page away when it is done: of two at once, one would take a page that nobody wrote.
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        self._pages.extend(_pages(self._sheet.take()))
        while self._pages:
            page = self._pages[0]
            try:
                async with asyncio.timeout(PATIENCE_S):
                    seen = f"{page.key}:seen:{page.id}"
                    await self._script(keys=[page.key, seen], args=[int(KEPT.total_seconds() * 1000), *page.fields])
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("usage waits for the bus server", pages=len(self._pages), why=str(error))
                return False
            self._pages.popleft()
        return True

    async def close(self) -> None:
        """Write the rest and disconnect."""
        await self.flush()
        await self._redis.aclose()

    async def read(self, tenant: str, days: Sequence[str]) -> Mapping[Account, Counts]:
        """Return what a tenant used on some days (ISO 8601). Raises BusUnavailable."""
        await self.flush()
        try:
            async with asyncio.timeout(PATIENCE_S):
                pipe = self._redis.pipeline(transaction=False)
                for day in days:
                    pipe.hgetall(_key(tenant, day))
                found = await cast("Awaitable[list[Mapping[bytes, bytes]]]", pipe.execute())
        except (RedisError, OSError, TimeoutError) as error:
            raise BusUnavailable(f"the usage cannot be read: {error}") from None
        read: dict[Account, Counts] = defaultdict(Counts)
        for day, fields in zip(days, found, strict=True):
            for name, number in fields.items():
                key, model, what = name.decode().split(_APART)
                read[Account(day, tenant, key, model)].add(Counts(**{what: int(number)}))
        return read


def _pages(sheet: Mapping[Account, Counts]) -> list[_Page]:
    by_day: dict[str, list[str | int]] = defaultdict(list)
    for account, counts in sheet.items():
        numbers = cast("dict[str, int]", asdict(counts))
        for what, number in numbers.items():
            if number:
                field = _APART.join((account.key, account.model.replace(_APART, " "), what))
                # What the server cannot count would keep all that comes after it from being written.
                by_day[_key(account.tenant, account.day)] += [field, min(number, MOST)]
    return [_Page(secrets.token_hex(8), key, fields) for key, fields in by_day.items()]


def _key(tenant: str, day: str) -> str:
    return f"gateway:{{usage:{tenant}:{day}}}"
