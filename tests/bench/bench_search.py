"""How long does /library/search take over one kept-alive connection, with a library of about 2,000 chunks?

Starts the whole system in a folder of its own, fills it with invented prose cut by the default settings, and asks
different questions one after the other, so that each is embedded anew. The CPU time that all processes together spend
on a search tells the same on a busy machine as on an idle one. Writes .bench/search.json.

Usage: python tests/bench/bench_search.py [--chunks 2000] [--queries 200] [--all-in-one]
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import httpx
import psutil

from archive_testkit.system import ArchiveSystem

OUT = Path(".bench/search.json")
SEED = 20
CHUNKS_A_DOCUMENT = 100
SENTENCES_A_CHUNK = 33
"""About what 512 tokens hold of the sentences below; the rest of the library is made up by more documents."""
INGEST_S = 900.0
WARM_UP = 10
ENDED = {"done", "partial", "failed", "cancelled"}

NOUNS = """harbour crane pilot ferry signal lighthouse cargo captain tide anchor bridge market ledger miller orchard
engine valley station keeper tower garden river letter winter copper lantern archive glacier reactor turbine""".split()
VERBS = "carries repairs measures follows guards paints replaces describes inspects feeds lifts records".split()
PLACES = "Aldmere Brackwater Corvin Dunmarsh Eastfell Farrow Glimholt Hollin Ironby Jarrow Kelmouth Lorne".split()


def sentence(dice: random.Random) -> str:
    """Return one sentence of invented prose."""
    first, second, third = dice.sample(NOUNS, 3)
    return (
        f"In {dice.choice(PLACES)} the {first} {dice.choice(VERBS)} the {second} every {dice.randint(2, 99)} days, "
        f"long before the {third} of {dice.choice(PLACES)}."
    )


def document(dice: random.Random) -> str:
    """Return a text of about CHUNKS_A_DOCUMENT chunks, in paragraphs."""
    lines = [sentence(dice) for _ in range(CHUNKS_A_DOCUMENT * SENTENCES_A_CHUNK // 2)]
    return "\n\n".join(" ".join(lines[start : start + 6]) for start in range(0, len(lines), 6))


def question(dice: random.Random) -> str:
    """Return a question about the prose; with so many words hardly one comes twice."""
    first, second = dice.sample(NOUNS, 2)
    return f"How often does the {first} of {dice.choice(PLACES)} need the {second} {dice.randint(2, 99)}?"


def fill(http: httpx.Client, chunks: int, dice: random.Random) -> dict[str, Any]:
    """Upload documents until the library holds so many chunks; return its figures."""
    until = time.monotonic() + INGEST_S
    while (held := http.get("/library/stats").json())["total_chunks"] < chunks:
        name = f"volume-{held['unique_files']}.txt"
        job = http.post("/v1/documents", files={"file": (name, document(dice).encode())}).json()
        while (state := http.get(f"/v1/jobs/{job['job_id']}").json())["status"] not in ENDED:
            if time.monotonic() > until:
                raise SystemExit(f"filling the library took longer than {INGEST_S:g} s: {state}")
            time.sleep(0.2)
        if state["status"] != "done":
            raise SystemExit(f"{name} was not ingested: {state['error']}")
    return held


def search(http: httpx.Client, number: int, dice: random.Random) -> list[float]:
    """Return the milliseconds of each search."""
    took: list[float] = []
    for _ in range(number):
        body = {"query": question(dice), "top_k": 5}
        began = time.perf_counter()
        reply = http.post("/library/search", json=body)
        took.append((time.perf_counter() - began) * 1000)
        if len(reply.raise_for_status().json()["chunks"]) != body["top_k"]:
            raise SystemExit(f"a search found too little: {reply.text[:200]}")
    return took


def cpu_s(system: ArchiveSystem) -> float:
    """Return the CPU seconds that all processes of the system have spent so far."""
    spent = (psutil.Process(process["pid"]).cpu_times() for process in system.run_info["processes"])
    return sum(times.user + times.system for times in spent)


def measure(system: ArchiveSystem, *, chunks: int, queries: int) -> dict[str, float]:
    """Fill a running system and return the figures of searching it."""
    dice = random.Random(SEED)
    with httpx.Client(base_url=system.url, timeout=60, trust_env=False) as http:
        began = time.monotonic()
        held = fill(http, chunks, dice)
        ingest_s = time.monotonic() - began
        search(http, WARM_UP, dice)
        before = cpu_s(system)
        took = search(http, queries, dice)
        spent = cpu_s(system) - before
    cuts = quantiles(took, n=100, method="inclusive")
    return {
        "chunks": held["total_chunks"],
        "vectors": held["vectors"],
        "queries": queries,
        "ingest_chunks_per_s": round(held["total_chunks"] / ingest_s, 1),
        "search_p50_ms": round(cuts[49], 2),
        "search_p95_ms": round(cuts[94], 2),
        "search_p99_ms": round(cuts[98], 2),
        "search_mean_ms": round(fmean(took), 2),
        "search_cpu_ms": round(spent / queries * 1000, 2),
    }


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--all-in-one", action="store_true")
    args = parser.parse_args()
    # Without it the end of this process would leave the system running.
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        options = ("--all-in-one",) if args.all_in_one else ()
        system = ArchiveSystem(Path(folder) / "home", options=options).start()
        try:
            figures = measure(system, chunks=args.chunks, queries=args.queries)
        finally:
            system.stop()
    table = [{"figure": name, "value": value} for name, value in figures.items()]
    for row in table:
        sys.stdout.write(f"{row['figure']:<22}{row['value']:>10g}\n")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
