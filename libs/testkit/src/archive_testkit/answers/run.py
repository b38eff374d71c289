"""One run: start a system, ask and strike, judge."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from aiohttp import ClientError, ClientSession, TCPConnector

from archive_testkit.answers.client import Client, Wish
from archive_testkit.answers.paced_engine import MODEL, words
from archive_testkit.answers.strikes import EVERY_KIND, Engines, Strikes
from archive_testkit.answers.told import Log, Told, broken
from archive_testkit.system import ArchiveSystem

ENGINES = 3
SERVED_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``answers`` of ``words`` pieces, ``at_once`` of them, a strike ``every_s`` while they run.

    More are asked for, up to ten times as many, until every kind was struck and an answer was resumed: what a machine
    does in the time of a given number of answers nobody knows.

    ``bundled`` adds three workers of the bundled model, which is then asked every fifth time.
    """

    folder: Path
    answers: int = 50
    words: int = 120
    at_once: int = 50
    every_s: float = 1.5
    bundled: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """How the system is started."""
        engines = ("engine=3",) if self.bundled else ()
        return ("--scale", "gateway=2", "router=2", *engines, *(() if self.bundled else ("--no-model",)))


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What became of the answers, what was struck (seconds since the first question; ``kinds``), what was wrong.

    ``forbidden`` is what a server refused to a service by its access rules: the map then lacks a right.
    """

    told: Sequence[Told]
    struck: Sequence[tuple[float, str]]
    kinds: frozenset[str]
    wrong: Mapping[int, Sequence[str]]
    forbidden: Sequence[str] = ()
    logs_gone: int = 0
    took_s: float = 0.0

    @property
    def figures(self) -> dict[str, float]:
        """Counts, for a table."""
        ends = Counter(each.end or "silent" for each in self.told)
        return {
            "answers": len(self.told),
            "complete": ends["done"],
            "in_band_errors": ends["error"],
            "refused": ends["refused"],
            "silent": ends["silent"],
            "wrong": len(self.wrong),
            "forbidden": len(self.forbidden),
            "resumed": sum(bool(each.resumed) for each in self.told),
            "resumptions": sum(each.resumed for each in self.told),
            "asked_again": sum(each.again for each in self.told),
            "logs_gone": self.logs_gone,
            "strikes": len(self.struck),
            "took_s": round(self.took_s, 1),
        }


async def run(plan: Plan) -> Verdict:
    """Run it. The system's folder is left where it is."""
    engines = Engines(ENGINES)
    home = plan.folder / "home"
    home.mkdir(parents=True)
    home.chmod(0o700)
    (home / "engines.yaml").write_text(engines.listing(MODEL))
    system = ArchiveSystem(home, options=plan.options)
    for index in range(ENGINES):
        await engines.start(index)
    try:
        await asyncio.to_thread(system.start)
        strikes = Strikes(system, engines, every_s=plan.every_s)
        async with ClientSession(connector=TCPConnector(limit=0, force_close=True)) as session:
            await _served(session, system.url)
            return await _judged(plan, Client(session, system.url), strikes, system)
    finally:
        await asyncio.to_thread(system.stop)
        await engines.stop()


async def _judged(plan: Plan, client: Client, strikes: Strikes, system: ArchiveSystem) -> Verdict:
    began = time.monotonic()
    told, logs = await _asked(plan, client, strikes)
    took_s = time.monotonic() - began
    await strikes.wait_ready([str(each["name"]) for each in system.run_info["processes"]])
    wrong: dict[int, list[str]] = {}
    gone = 0
    for each in told:
        log = logs[each.number]
        gone += bool(each.stream) and log is None
        paced = not (plan.bundled and each.number % 5 == 0)
        if found := broken(each, log, words(each.wanted) if paced else None):
            wrong[each.number] = found
            (plan.folder / f"answer-{each.number}.json").write_text(json.dumps([asdict(each), log], indent=1))
    struck = [(at - began, name) for at, name in strikes.done]
    forbidden = await asyncio.to_thread(system.refusals)
    return Verdict(
        told=told,
        struck=struck,
        kinds=frozenset(strikes.kinds),
        wrong=wrong,
        forbidden=forbidden,
        logs_gone=gone,
        took_s=took_s,
    )


async def _asked(plan: Plan, client: Client, strikes: Strikes) -> tuple[list[Told], dict[int, Log]]:
    numbers, all_told, logs = count(), list[Told](), dict[int, Log]()

    def enough(number: int) -> bool:
        if number < plan.answers:
            return False
        seen = strikes.kinds >= EVERY_KIND and any(told.resumed for told in all_told)
        return seen or number >= plan.answers * 10

    async def one(number: int) -> None:
        model = "auto" if plan.bundled and number % 5 == 0 else MODEL
        wish = Wish(number=number, words=plan.words, model=model, stays=number % 2 == 0, goes_on=number % 4 < 2)
        asked = time.monotonic()
        told = await client.ask(wish)
        told.asked_at, told.ended_at = asked, time.monotonic()
        # Now, for the next strike may take the log with it.
        logs[number] = await client.log(told.stream) if told.stream else None
        all_told.append(told)

    async def some() -> None:
        while not enough(number := next(numbers)):
            await one(number)
        strikes.end()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(plan.at_once):
            tasks.create_task(some())
        await asyncio.sleep(plan.every_s)
        tasks.create_task(strikes.run())
    return sorted(all_told, key=lambda told: told.number), logs


async def _served(session: ClientSession, url: str) -> None:
    """Wait until every engine has a healthy worker. Raises TimeoutError."""
    async with asyncio.timeout(SERVED_S):
        while True:
            with suppress(ClientError):
                async with session.get(f"{url}/v1/engines") as reply:
                    listed = (await reply.json()).get("engines", [])
                    if sum(each["pool"] == MODEL and each["healthy"] for each in listed) == ENGINES:
                        return
            await asyncio.sleep(0.2)
