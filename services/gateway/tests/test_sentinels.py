"""What the gateway keeps beside the bus, behind sentinels."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from archive_contracts.keys import KeyLimits
from archive_gateway.adapters.attendance import StreamAttendance
from archive_gateway.adapters.machine import MachineFigures
from archive_gateway.adapters.quota import SharedQuota
from archive_gateway.adapters.usage import UsageLedger
from archive_gateway.domain.ports import Patron
from archive_gateway.domain.quota import Reservation
from archive_gateway.domain.usage import Account, Counts, UsageSheet
from archive_testkit.sentinels import WatchedServers


@pytest.fixture(scope="module")
async def watched() -> AsyncIterator[str]:
    servers = WatchedServers()
    await asyncio.to_thread(servers.__enter__)
    yield servers.url
    await asyncio.to_thread(servers.__exit__, None, None, None)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def test_adapters_reach_the_master(watched: str) -> None:
    sheet, attendance, figures = UsageSheet(), StreamAttendance(watched), MachineFigures(watched)
    account = Account("2026-01-01", "t", "k", "m")
    sheet.book(account, Counts(requests=1))
    ledger = UsageLedger(watched, sheet)
    patron = Patron(key="k", model="m", prompt_chars=3)
    await attendance.note("s", patron)
    assert await attendance.patron("s") == patron
    assert await ledger.read("t", ["2026-01-01"]) == {account: Counts(requests=1)}
    assert await figures.activity() is not None
    for part in (attendance, figures, ledger):
        await part.close()


async def test_limits_are_shared_behind_sentinels(watched: str) -> None:
    wanted = Reservation(id="r1", key="k", limits=KeyLimits(requests_per_minute=1), tokens=1, life_s=60.0)
    for number in (1, 2):
        quota = SharedQuota(watched, clock=time.monotonic)
        grant = await quota.reserve(replace(wanted, id=f"r{number}"))
        assert grant.rule == ("" if number == 1 else "requests_per_minute")
        await quota.close()
