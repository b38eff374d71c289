"""What our door costs, beside LiteLLM's proxy and a bare pass-through: a table, and .bench/gateway.json for programs.

All candidates run at the same time in front of one mock engine and are asked in turns, round after round, so that what
else the machine does meets all of them alike. CPU time is that of every process of a candidate, its servers included;
that of a token has its share of the request it belongs to, a 25th.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from candidates import Candidate, floor, litellm, mock_engine, ours
from load import Streamed, p50, p99, streams, whole

OUT = Path(".bench")


@dataclass
class Measured:
    """What came of one candidate, over all rounds. Times in milliseconds."""

    alone: list[float] = field(default_factory=list[float])
    cpu_us: list[float] = field(default_factory=list[float])
    rate: list[float] = field(default_factory=list[float])
    streamed: dict[int, Streamed] = field(default_factory=dict[int, Streamed])
    stream_cpu_us: dict[int, list[float]] = field(default_factory=dict[int, list[float]])


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is asked for."""

    rounds: int
    alone: int
    many: int
    stream_rounds: int
    memory: int


async def _round(candidate: Candidate, found: Measured, size: Size, *, slow: bool) -> None:
    share = 4 if slow else 1
    found.alone += await whole(candidate.url, count=size.alone // share, concurrent=1)
    count = size.many // share
    loop = asyncio.get_running_loop()
    before, began = candidate.cpu_s(), loop.time()
    await whole(candidate.url, count=count, concurrent=16)
    found.rate.append(count / (loop.time() - began))
    found.cpu_us.append((candidate.cpu_s() - before) / count * 1e6)
    for concurrent in (16, 128):
        before = candidate.cpu_s()
        seen = await streams(candidate.url, concurrent=concurrent, rounds=size.stream_rounds)
        tokens = max(1, len(seen.transit))
        found.stream_cpu_us.setdefault(concurrent, []).append((candidate.cpu_s() - before) / tokens * 1e6)
        known = found.streamed.setdefault(concurrent, Streamed())
        known.ttft += seen.ttft
        known.transit += seen.transit
        known.broken += seen.broken


async def _measure(candidates: list[Candidate], size: Size) -> dict[str, Measured]:
    found = {candidate.name: Measured() for candidate in candidates}
    for candidate in candidates:
        await whole(candidate.url, count=100, concurrent=8)
        await streams(candidate.url, concurrent=4, rounds=1)
    for number in range(size.rounds):
        turn = number % len(candidates)
        for candidate in (*candidates[turn:], *candidates[:turn]):
            await _round(candidate, found[candidate.name], size, slow=candidate.name == "litellm")
        print(f"round {number + 1} of {size.rounds}", flush=True)  # noqa: T201 - a command's own words
    return found


def _figures(found: dict[str, Measured], memory: dict[str, float]) -> dict[str, float]:
    mine, direct = found["ours"], found["direct"]
    figures = {
        "cpu_per_request_us": p50(mine.cpu_us),
        "floor_cpu_per_request_us": p50(found["floor"].cpu_us),
        "added_p50_ms": p50(mine.alone) - p50(direct.alone),
        "added_p99_ms": p99(mine.alone) - p99(direct.alone),
        "rate_16": p50(mine.rate),
        **memory,
    }
    if "litellm" in found:
        theirs = found["litellm"]
        figures |= {
            "litellm_cpu_per_request_us": p50(theirs.cpu_us),
            "litellm_added_p50_ms": p50(theirs.alone) - p50(direct.alone),
            "litellm_rate_16": p50(theirs.rate),
        }
    for name, candidate in found.items():
        if name not in {"ours", "direct"}:
            for concurrent, spent in candidate.stream_cpu_us.items():
                figures[f"{name}_cpu_per_token_us_{concurrent}"] = p50(spent)
    for concurrent, seen in mine.streamed.items():
        figures[f"ttft_added_p50_ms_{concurrent}"] = p50(seen.ttft) - p50(direct.streamed[concurrent].ttft)
        figures[f"token_transit_p50_ms_{concurrent}"] = p50(seen.transit)
        figures[f"cpu_per_token_us_{concurrent}"] = p50(mine.stream_cpu_us[concurrent])
        figures[f"streams_broken_{concurrent}"] = seen.broken
    return {name: round(value, 3) for name, value in figures.items()}


HEADS = ("candidate", "CPU us a request", "a second, c=16", "p50 ms, c=1", "p99 ms, c=1", "TTFT p50 ms, 16 / 128",
         "token transit p50 ms, 16 / 128", "CPU us a token, 16 / 128", "streams broken")  # fmt: skip


def _table(found: dict[str, Measured]) -> list[list[str]]:
    return [
        [
            name,
            f"{p50(seen.cpu_us):,.0f}",
            f"{p50(seen.rate):,.0f}",
            f"{p50(seen.alone):.2f}",
            f"{p99(seen.alone):.2f}",
            " / ".join(f"{p50(seen.streamed[number].ttft):.1f}" for number in (16, 128)),
            " / ".join(f"{p50(seen.streamed[number].transit):.2f}" for number in (16, 128)),
            " / ".join(f"{p50(seen.stream_cpu_us[number]):,.0f}" for number in (16, 128)),
            str(sum(streamed.broken for streamed in seen.streamed.values())),
        ]
        for name, seen in found.items()
    ]


async def _memory(candidate: Candidate, count: int, start: float) -> dict[str, float]:
    steady = candidate.rss_mb()
    await whole(candidate.url, count=count, concurrent=32)
    return {"rss_start_mb": start, "rss_steady_mb": steady, f"rss_after_{count // 1000}k_mb": candidate.rss_mb()}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=400, help="requests one after the other, a round")
    parser.add_argument("--many", type=int, default=4000, help="requests sixteen at a time, a round")
    parser.add_argument("--memory", type=int, default=100_000, help="requests before memory is read again")
    parser.add_argument("--no-litellm", action="store_true")
    parser.add_argument("--litellm-home", type=Path, default=OUT / "litellm", help="its environment")
    args = parser.parse_args()
    size = Size(rounds=args.rounds, alone=args.alone, many=args.many, stream_rounds=2, memory=args.memory)
    OUT.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(mock_engine())
        candidates = [Candidate("direct", engine, (), ()), stack.enter_context(floor(engine))]
        mine = stack.enter_context(ours(engine, folder))
        start = mine.rss_mb()
        candidates.append(mine)
        if not args.no_litellm:
            candidates.append(stack.enter_context(litellm(engine, args.litellm_home.absolute(), folder)))
        found, memory = asyncio.run(_all(candidates, mine, size, start))
    rows, figures = _table(found), _figures(found, memory)
    _show(rows, figures, print)
    (OUT / "gateway.json").write_text(json.dumps({"figures": figures, "table": [list(HEADS), *rows]}, indent=1))


async def _all(
    candidates: list[Candidate], mine: Candidate, size: Size, start: float
) -> tuple[dict[str, Measured], dict[str, float]]:
    found = await _measure(candidates, size)
    return found, await _memory(mine, size.memory, start)


def _show(rows: list[list[str]], figures: dict[str, float], say: Callable[[str], None]) -> None:
    widths = [max(len(row[column]) for row in (HEADS, *rows)) for column in range(len(HEADS))]
    for row in (HEADS, *rows):
        say("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for name, value in figures.items():
        say(f"{name:32} {value:,.2f}")


if __name__ == "__main__":
    main()
