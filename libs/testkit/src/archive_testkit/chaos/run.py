"""One chaos run: start everything, let the nemesis loose, let it settle, read the notes, judge."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from archive_bus import Operator
from archive_testkit.chaos.checker import Verdict, check
from archive_testkit.chaos.facts import Violation
from archive_testkit.chaos.history import Recorder, What, read
from archive_testkit.chaos.nemesis import Member, Nemesis, client_of
from archive_testkit.chaos.schedule import Step, schedule
from archive_testkit.chaos.witness import settled, witness
from archive_testkit.chaos.work import LEASE_S, inputs
from archive_testkit.proxy import TcpProxy
from archive_testkit.servers import RedisServer

WORKERS = 3
SETTLE_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run: its seed, how long faults strike, messages a second, where the notes go, and the server it strikes.

    Without a ``binary`` that is the one all tests run against.
    """

    seed: int
    seconds: float
    rate: float
    folder: Path
    binary: str | None = None

    @property
    def steps(self) -> Sequence[Step]:
        """The faults."""
        return schedule(self.seed, seconds=self.seconds, lease_s=LEASE_S, workers=WORKERS)


async def run(plan: Plan) -> Verdict:
    """Run a plan and return what its history proves."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    server = await asyncio.to_thread(RedisServer(durable=True, binary=plan.binary).start)
    try:
        with Recorder(plan.folder, "nemesis") as notes:
            left = await _strike(plan, server, notes)
    finally:
        await asyncio.to_thread(server.stop)
    verdict = check(read(plan.folder), lease_s=LEASE_S, attempts=inputs().attempts)
    if left:
        stuck = Violation("stuck", "", f"after {SETTLE_S:g} s of peace: {left}")
        return Verdict(violations=[stuck, *verdict.violations], figures=verdict.figures)
    return verdict


async def _strike(plan: Plan, server: RedisServer, notes: Recorder) -> str:
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(server))
        workers = [
            await stack.enter_async_context(_member(plan, server, f"worker-{number}")) for number in range(WORKERS)
        ]
        words = (str(plan.seed), str(plan.rate))
        publisher = await stack.enter_async_context(_member(plan, server, "publisher", *words))
        nemesis = Nemesis(server=server, workers=workers, publisher=publisher, notes=notes, client=client)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(witness(client, notes))
            await nemesis.run(plan.steps, seconds=plan.seconds)
            await nemesis.end(publisher, signal.SIGTERM)
            left = await settled(client, within_s=SETTLE_S)
            for worker in workers:
                await nemesis.end(worker, signal.SIGTERM)
            await asyncio.sleep(0.5)
            watching.cancel()
        await _note_dead(server, notes)
        return left


@contextlib.asynccontextmanager
async def _member(plan: Plan, server: RedisServer, role: str, *words: str) -> AsyncGenerator[Member, None]:
    async with TcpProxy(server.port) as proxy:
        member = Member(role, folder=plan.folder, proxy=proxy, words=words)
        await member.spawn()
        try:
            yield member
        finally:
            member.signal(signal.SIGKILL)
            if member.process:
                await member.process.wait()


async def _note_dead(server: RedisServer, notes: Recorder) -> None:
    async with Operator(server.url, server.url) as operator:
        for letter in await operator.dead_letters(limit=1_000_000):
            notes.note(What.BURIED, letter.fields.get(b"id", b"").decode(), detail=letter.code)
