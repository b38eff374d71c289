"""How a lane scales: throughput of 1, 2, 4 and 8 workers, and a burst that an autoscaler follows up and back to zero.

Workers are processes whose jobs wait as for a model, so that what is measured is the bus and not the processors of this
machine. The autoscaler's rule is KEDA's, its clock ten times faster. Writes .bench/scale.json, .bench/scale.svg and
.bench/scale-burst.svg; --show also writes the drawings that k8s/README.md shows.

Usage: python tests/bench/bench_scale.py [--seconds 6] [--show]
"""

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, cast

from plot import Curve, svg
from redis import Redis
from scale_worker import SLOTS
from scaler import Scaler

from archive_bus import Bus, BusOptions, Delivery, connect, wire
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.engine import EmbedRequested
from archive_contracts.envelope import Envelope, stamp
from archive_contracts.streams import CHAT_REQUESTS, ENGINE_JOBS
from archive_testkit.servers import RedisServer

OUT, SHOWN = Path(".bench"), Path("k8s")
POOL, GROUP = "bench", "engine"
KEY = ENGINE_JOBS.physical(POOL)
WAIT_S = 0.2
COUNTS = (1, 2, 4, 8)
POLL_S, COOLDOWN_S = 0.5, 5.0
BURST, BURST_S, EACH, MOST = 600, 8.0, 8, 8
CLUSTER, CLUSTER_SLOTS, CLUSTER_JOB_S = 100, 16, 8.0
"""A cluster to be computed: workers, jobs each serves at once, and how long one takes."""
BUS_MESSAGES = 3
"""Messages of one chat on the bus: to the router, to the lane, and to memory when it is over."""
TALKS, TOKENS, TOKEN_S = 64, 100, 1 / 30
"""Answers streamed at once, tokens in each, and how soon one follows the other."""


@dataclass(slots=True)
class Worker:
    """A process, and what it says of the jobs it has done: id to (began, ended)."""

    process: "subprocess.Popen[str]"
    jobs: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    ready: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, url: str) -> "Worker":
        """Start one; it is of use when ``ready`` is set."""
        script = Path(__file__).with_name("scale_worker.py")
        words = [sys.executable, str(script), url, POOL, str(WAIT_S)]
        worker = cls(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        threading.Thread(target=worker._listen, daemon=True).start()
        return worker

    def drain(self) -> None:
        """Tell it to end; it finishes what it has begun."""
        self.process.send_signal(signal.SIGTERM)

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line == "ready\n":
                self.ready.set()
            else:
                job, began, ended = line.split()
                self.jobs.append((job, float(began), float(ended)))


@contextmanager
def lane(*, durable: bool = True) -> Generator[tuple[str, Any]]:
    """Yield a server's address and a client of it, with an empty lane."""
    server = RedisServer(durable=durable).start()
    try:
        with Redis.from_url(server.url) as client:  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
            client.xgroup_create(KEY, GROUP, id="0", mkstream=True)
            yield server.url, client
    finally:
        server.stop()


@contextmanager
def ended(workers: list[Worker]) -> Generator[None]:
    """End workers at last."""
    try:
        yield
    finally:
        for worker in workers:
            worker.drain()
        for worker in workers:
            worker.process.wait(40)


def publish(client: Any, ids: Iterator[int], count: int) -> dict[str, float]:
    """Put jobs on the lane as the router would; return when each was put there."""
    pipe, put = client.pipeline(transaction=False), dict[str, float]()
    data = EmbedRequested(texts=("a",)).to_json()
    for _ in range(count):
        sealed = Envelope(id=f"{next(ids):032x}", type=EmbedRequested.type, source="router", time=stamp(), data=data)
        pipe.xadd(KEY, dict(wire(sealed)))
        put[sealed.id] = time.time()
    pipe.execute()
    return put


def throughput(count: int, seconds: float) -> dict[str, float]:
    """Return jobs a second of so many workers on a lane that never runs dry, and what a job costs the server."""
    with lane() as (url, client):
        publish(client, iter(range(10**9)), int(count * SLOTS / WAIT_S * (seconds + 12)))
        workers = [Worker.start(url) for _ in range(count)]
        with ended(workers):
            for worker in workers:
                assert worker.ready.wait(60)
            time.sleep(1.0)
            before, cpu, began = sum(len(worker.jobs) for worker in workers), server_cpu(client), time.monotonic()
            time.sleep(seconds)
            done = sum(len(worker.jobs) for worker in workers) - before
            took, spent = time.monotonic() - began, server_cpu(client) - cpu
    return {"workers": count, "rate": round(done / took, 2), "server_cpu_us": round(spent / done * 1e6, 1)}


def server_cpu(client: Any) -> float:
    """Return the seconds of CPU that the server has used."""
    told: dict[str, Any] = client.info("cpu")
    return float(told["used_cpu_sys"]) + float(told["used_cpu_user"])


def token_cpu() -> float:
    """Return microseconds of the state server's CPU for one token of an answer, from the worker to its reader."""
    with lane(durable=False) as (url, client):

        async def answer(delivery: Delivery[ChatRequested]) -> None:
            for _ in range(TOKENS):
                await asyncio.sleep(TOKEN_S)
                _ = delivery.emit(ChatDelta(body='{"choices":[{"delta":{"content":"word "}}]}'))
            await delivery.reply(ChatCompleted(engine="e", pool="p", model="m"))

        async def hear(caller: Bus) -> int:
            heard = 0
            async with caller.open(ChatRequested(body="{}", model="m"), to=CHAT_REQUESTS, timeout=120) as call:
                while isinstance(await call.next(), ChatDelta):
                    heard += 1
            return heard

        async def talk() -> float:
            worker = connect(url, url, BusOptions(service="router", grace_s=1.0))
            async with worker, connect(url, url, BusOptions(service="gateway", grace_s=1.0)) as caller:
                worker.subscribe(CHAT_REQUESTS, {ChatRequested: answer}, concurrency=TALKS)
                await asyncio.sleep(1.0)
                before = server_cpu(client)
                heard = await asyncio.gather(*(hear(caller) for _ in range(TALKS)))
                assert heard == [TOKENS] * TALKS
                return server_cpu(client) - before

        return round(asyncio.run(talk()) / (TALKS * TOKENS) * 1e6, 1)


@dataclass(slots=True)
class Burst:
    """What happened: (seconds, lag, replicas), when each job was put on the lane, and everybody's jobs."""

    seen: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])
    put: dict[str, float] = field(default_factory=dict[str, float])
    workers: list[Worker] = field(default_factory=list[Worker])


def follow_burst() -> Burst:
    """Let the autoscaler follow a burst from zero workers to many and back to none."""
    burst, ids, running = Burst(), iter(range(10**9)), list[Worker]()
    scaler = Scaler(each=EACH, most=MOST, cooldown_s=COOLDOWN_S)
    with lane() as (url, client), ended(burst.workers):
        began = time.monotonic()
        while (at := time.monotonic() - began) < 120:
            due = min(BURST, int(at / BURST_S * BURST))
            burst.put |= publish(client, ids, due - len(burst.put))
            lag, pending = waiting(client)
            wanted = scaler.decide(lag, pending, at_s=at)
            while len(running) < wanted:
                running.append(Worker.start(url))
                burst.workers.append(running[-1])
            while len(running) > wanted:
                running.pop().drain()
            burst.seen.append((round(at, 2), lag + pending, wanted))
            if due == BURST and not lag + pending and not wanted:
                break
            time.sleep(POLL_S)
    return burst


def waiting(client: Any) -> tuple[int, int]:
    """Return lag and pending as KEDA asks for them."""
    (group,) = cast("list[dict[str, Any]]", client.xinfo_groups(KEY))
    return int(group["lag"] or 0), int(client.xpending(KEY, GROUP)["pending"])


def figures(rates: dict[int, dict[str, float]], burst: Burst, token_us: float) -> dict[str, float]:
    """Return what is compared and kept."""
    jobs = [job for worker in burst.workers for job in worker.jobs]
    waits = [began - burst.put[name] for name, began, _ in jobs]
    cost_us = rates[max(COUNTS)]["server_cpu_us"]
    at_once = CLUSTER * CLUSTER_SLOTS
    a_second = at_once / CLUSTER_JOB_S
    return {
        **{f"rate_{count}": rates[count]["rate"] for count in COUNTS},
        **{f"speedup_{count}": round(rates[count]["rate"] / rates[1]["rate"], 3) for count in COUNTS[1:]},
        "server_cpu_us": cost_us,
        "burst_jobs": len(burst.put),
        "burst_lost": len(burst.put.keys() - {name for name, _, _ in jobs}),
        "burst_run_twice": len(jobs) - len({name for name, _, _ in jobs}),
        "burst_p95_wait_s": round(quantiles(waits, n=20)[18], 2),
        "burst_most_replicas": max(replicas for _, _, replicas in burst.seen),
        "burst_end_replicas": burst.seen[-1][2],
        "burst_s": burst.seen[-1][0],
        "server_cpu_token_us": token_us,
        "cluster_jobs_a_second": a_second,
        "cluster_bus_cpu_percent": round(a_second * BUS_MESSAGES * cost_us / 1e6 * 100, 1),
        "cluster_tokens_a_second": at_once / TOKEN_S,
        "cluster_state_cpu_percent": round(at_once / TOKEN_S * token_us / 1e6 * 100, 1),
    }


def plots(rates: dict[int, dict[str, float]], burst: Burst) -> dict[str, str]:
    """Return both drawings by the names of their files."""
    by_workers = Curve("jobs a second", [(float(count), rates[count]["rate"]) for count in COUNTS])
    lag = Curve("jobs that wait or run", [(at, float(jobs)) for at, jobs, _ in burst.seen])
    replicas = Curve("workers", [(at, float(count)) for at, _, count in burst.seen])
    return {
        "scale.svg": svg([by_workers], across="workers of the lane"),
        "scale-burst.svg": svg([lag, replicas], across="seconds since the burst began"),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    rates = {count: throughput(count, args.seconds) for count in COUNTS}
    burst = follow_burst()
    reached = figures(rates, burst, token_cpu())
    OUT.mkdir(exist_ok=True)
    table = [*rates.values(), *({"at_s": at, "jobs": jobs, "workers": count} for at, jobs, count in burst.seen)]
    (OUT / "scale.json").write_text(json.dumps({"figures": reached, "table": table}) + "\n")
    for name, drawing in plots(rates, burst).items():
        for folder in (OUT, SHOWN) if args.show else (OUT,):
            (folder / name).write_text(drawing)
    sys.stdout.write("".join(f"{name:<28} {value}\n" for name, value in reached.items()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
