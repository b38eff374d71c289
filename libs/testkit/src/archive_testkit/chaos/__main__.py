"""Usage: python -m archive_testkit.chaos [--minutes 1] [--seed 1] [--rate 40] [--server redis] [--out FILE] [--dry]."""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from archive_testkit.chaos.checker import Verdict
from archive_testkit.chaos.run import Plan, run

SHOWN = 20
SERVERS = {"valkey": None, "redis": "redis-server"}
"""Words for servers: the one all tests run against, and the distribution's, which has the portable commands alone."""


def main() -> int:
    """Run one seed and tell the verdict; 1 when a promise was broken, and then the notes are kept."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults strike")
    parser.add_argument("--seed", type=int, help="decides faults and messages (default: drawn and printed)")
    parser.add_argument("--rate", type=float, default=40.0, help="messages published a second")
    parser.add_argument("--server", choices=SERVERS, default="valkey", help="what the faults strike")
    parser.add_argument("--out", type=Path, help="append the verdict to this file, a line of JSON")
    parser.add_argument("--dry", action="store_true", help="print the schedule and do nothing")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    binary = SERVERS[args.server]
    if binary and not shutil.which(binary):
        parser.error(f"there is no {binary} on the path; next: install it, such as with apt-get install {binary}")
    plan = Plan(seed=seed, seconds=args.minutes * 60, rate=args.rate, folder=folder, binary=binary)
    if args.dry:
        _say("\n".join(f"{step.at_s:8.2f}  {step.fault} {step.worker}  {step.lasts_s:g} s" for step in plan.steps))
        return 0
    began = time.monotonic()
    _say(f"chaos: seed {seed}, {args.minutes:g} min, {len(plan.steps)} faults, {args.server}")
    verdict = asyncio.run(run(plan))
    _say(tell(seed, verdict))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        took_s = round(time.monotonic() - began, 1)
        line = {"seed": seed, "server": args.server, "minutes": args.minutes, "took_s": took_s}
        with args.out.open("a") as file:
            file.write(json.dumps(line | dict(verdict.figures) | {"broken": dict(verdict.broken)}) + "\n")
    if not verdict.violations:
        shutil.rmtree(folder)
        return 0
    _say(f"{again(seed, minutes=args.minutes, server=args.server)}    notes: {folder}")
    return 1


def again(seed: int, *, minutes: float, server: str) -> str:
    """Return how a run is repeated."""
    return f"again: make chaos MINUTES={minutes:g} SEED={seed} SERVER={server}"


def tell(seed: int, verdict: Verdict) -> str:
    """Return a verdict for people."""
    lines = [f"  {name:<24} {value:.3f}".rstrip("0").rstrip(".") for name, value in verdict.figures.items()]
    lines += [f"  BROKEN {rule}: {count}" for rule, count in verdict.broken.items()] or ["  nothing broken"]
    lines += [f"    {each.rule} {each.message}: {each.detail}" for each in verdict.violations[:SHOWN]]
    return "\n".join([f"seed {seed}", *lines])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
