"""What a route decision costs in CPU time: a table, and .bench/route.json for programs.

A decision is what the router does between a request and its job without the bus: hash the prompt's beginnings, filter,
score, pick, name the fallbacks. Twenty engines as twenty pools, and as one pool of twenty workers.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from archive_contracts.engine import EngineRegistered, ModelCard
from archive_router.domain.affinity import marks_of
from archive_router.domain.demand import Demand
from archive_router.domain.lanes import Lanes
from archive_router.domain.route import Policy, decide

ENGINES = 20
ROUNDS = 40
CALLS = 250
SHORT = '{"model": "auto", "messages": [{"role": "user", "content": "What is a lane?"}]}'
LONG = '{"model": "auto", "messages": [{"role": "user", "content": "' + "word " * 1_600 + '"}]}'


def lanes_of(*, pools: int) -> Lanes:
    """Return twenty workers spread over so many pools, as busy as chance has it."""
    chance, lanes = Random(11), Lanes()
    for number in range(ENGINES):
        beat = EngineRegistered(
            worker=f"w{number}",
            engine=f"e{number}",
            instance=f"http://10.0.0.{number}",
            pool=f"p{number % pools}",
            models=(ModelCard(id="m", context=8192),),
            capabilities=("chat", "completion", "tools"),
            slots=8,
            busy=chance.randrange(8),
            service_s=chance.uniform(1, 9),
            ttft_s=chance.uniform(0.1, 2),
            cost_out=chance.uniform(0, 3),
            directed=True,
        )
        lanes.hear(beat, now=0.0)
    return lanes


def once(lanes: Lanes, policy: Policy, body: str) -> None:
    """Decide about one request."""
    demand = Demand(
        model="auto",
        needs=frozenset({"chat"}),
        prompt_chars=len(body),
        session="s",
        marks=marks_of(body) if any(lane.directed for lane in lanes.at(0.0)) else (),
    )
    decide(demand, lanes.at(0.0), policy)


def microseconds(act: Callable[[], None]) -> tuple[float, float]:
    """Return median and 99th percentile of one call, over rounds of many."""
    for _ in range(CALLS):
        act()
    found: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            act()
        found.append((time.process_time() - began) / CALLS * 1e6)
    return statistics.median(found), statistics.quantiles(found, n=100)[98]


def main() -> None:
    """Measure, print and keep."""
    figures: dict[str, float] = {}
    rows: list[list[object]] = []
    for pools, shape in ((20, "20 pools"), (1, "1 pool of 20 workers")):
        for body, prompt in ((SHORT, "short prompt"), (LONG, "8,000 characters")):
            lanes = lanes_of(pools=pools)
            policy = Policy(sent_to=lanes.sent_to)
            policy.prefixes.note(marks_of(LONG)[:2], "w7")
            median, high = microseconds(lambda lanes=lanes, policy=policy, body=body: once(lanes, policy, body))
            rows.append([shape, prompt, round(median, 1), round(high, 1)])
    figures["route_decision_us"] = max(float(str(row[2])) for row in rows)
    lines = [f"{'engines':<22} {'prompt':<18} {'p50 us':>8} {'p99 us':>8}"]
    lines += [f"{row[0]!s:<22} {row[1]!s:<18} {row[2]!s:>8} {row[3]!s:>8}" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    folder = Path(".bench")
    folder.mkdir(exist_ok=True)
    (folder / "route.json").write_text(json.dumps({"figures": figures, "table": rows}, indent=1))


if __name__ == "__main__":
    main()
