"""What a message costs: ours beside bare redis-py and three task queues, interleaved on one server.

Each measurement runs in a process of its own, a round of all contenders after another, so that what disturbs the
machine disturbs all of them. CPU is the client process's own (all threads, without its start); the server keeps nothing
on disk, for an fsync would hide what is compared. Every asynchronous contender runs on uvloop.

Usage: python tests/bench/bench_bus.py [--rounds 5]
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from archive_testkit.servers import RedisServer

HERE = Path(__file__).parent
OUT = Path(".bench/bus.json")
Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much each contender is given: enough for a second or so."""

    consume: int
    publish: int
    ask: int
    ask_32: int


SIZES = {
    "raw": Size(40_000, 10_000, 1500, 6400),
    "ours": Size(40_000, 20_000, 1500, 6400),
    "traced": Size(20_000, 0, 0, 0),
    "faststream": Size(5_000, 5_000, 500, 1600),
    "taskiq": Size(4_000, 5_000, 300, 960),
    "dramatiq": Size(3_000, 4_000, 300, 960),
}


def client(name: str, what: str, url: str, *, count: int, at_once: int = 1) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    words = [sys.executable, str(HERE / "client.py"), name, what, url, str(count), str(at_once)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{name} {what} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def serving(name: str, url: str) -> Generator[None, None, None]:
    """Run the answering side of a contender."""
    words = [sys.executable, str(HERE / "client.py"), name, "serve", url, "1", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise SystemExit(f"{name} does not serve")
            yield
        finally:
            process.kill()


def one_round(name: str, server: RedisServer, samples: Samples) -> None:
    """Measure one contender once."""
    size, url = SIZES[name], server.url

    def keep(figure: str, value: float) -> None:
        samples[f"{name} {figure}"].append(value)

    server.flush()
    client(name, "fill", url, count=size.consume)
    consumed = client(name, "consume", url, count=size.consume)
    keep("consume_cpu_us", consumed["cpu_us"])
    keep("consume_rate", consumed["rate"])
    keep("rss_mb", consumed["rss_mb"])
    if size.publish:
        server.flush()
        published = client(name, "publish", url, count=size.publish, at_once=64)
        keep("publish_cpu_us", published["cpu_us"])
        keep("publish_rate", published["rate"])
    if size.ask:
        server.flush()
        with serving(name, url):
            single = client(name, "ask", url, count=size.ask, at_once=1)
            many = client(name, "ask", url, count=size.ask_32, at_once=32)
        keep("request_p50_ms", single["p50_ms"])
        keep("request_p99_ms", single["p99_ms"])
        keep("request_rate_32", many["rate"])
        keep("request_p50_ms_32", many["p50_ms"])


def figures(samples: Samples) -> dict[str, float]:
    """Return the figures by the names under which they are compared from release to release."""
    names = {
        "consume_cpu_us": "ours consume_cpu_us",
        "publish_cpu_us": "ours publish_cpu_us",
        "request_p50_ms": "ours request_p50_ms",
        "request_p99_ms": "ours request_p99_ms",
        "request_rate_32": "ours request_rate_32",
        "raw_consume_cpu_us": "raw consume_cpu_us",
        "raw_request_p50_ms": "raw request_p50_ms",
        "faststream_consume_cpu_us": "faststream consume_cpu_us",
        "taskiq_consume_cpu_us": "taskiq consume_cpu_us",
        "dramatiq_consume_cpu_us": "dramatiq consume_cpu_us",
        "traced_consume_cpu_us": "traced consume_cpu_us",
        "rss_mb": "ours rss_mb",
    }
    return {figure: round(median(samples[name]), 3) for figure, name in names.items()}


def rows(samples: Samples) -> list[dict[str, float | str]]:
    """Return a row a contender and figure: median, least, most."""
    found: list[dict[str, float | str]] = []
    for name, values in samples.items():
        contender, _, figure = name.partition(" ")
        spread = {"median": median(values), "least": min(values), "most": max(values)}
        found.append(
            {"contender": contender, "figure": figure} | {key: round(value, 3) for key, value in spread.items()}
        )
    return found


def tell(table: Sequence[dict[str, float | str]], reached: dict[str, float]) -> str:
    """Return the table for people, and how far the aims are."""
    lines = [f"{'contender':<12}{'figure':<20}{'median':>11}{'least':>11}{'most':>11}"]
    lines += [
        f"{row['contender']:<12}{row['figure']:<20}{row['median']:>11}{row['least']:>11}{row['most']:>11}"
        for row in sorted(table, key=lambda row: (str(row["figure"]), float(row["median"])))
    ]
    ours, raw = reached["consume_cpu_us"], reached["raw_consume_cpu_us"]
    lines += [
        "",
        f"consume   {ours:.1f} us CPU a message (aim 15), {ours / raw:.2f} x raw (aim 2.5)",
        f"publish   {reached['publish_cpu_us']:.1f} us CPU a message (aim 20)",
        f"request   p50 {reached['request_p50_ms'] / reached['raw_request_p50_ms']:.2f} x raw (aim 3)",
        *(
            f"less CPU than {name:<11} {reached[f'{name}_consume_cpu_us'] / ours:.1f} x (aim 5)"
            for name in ("faststream", "taskiq", "dramatiq")
        ),
        f"a span    {reached['traced_consume_cpu_us'] - ours:.1f} us CPU a message",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run all rounds, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(SIZES), help="contenders; figures are written for all only")
    args = parser.parse_args()
    samples: Samples = defaultdict(list)
    server = RedisServer().start()
    try:
        for number in range(args.rounds):
            for name in args.only:
                sys.stderr.write(f"round {number + 1}: {name}\n")
                one_round(name, server, samples)
    finally:
        server.stop()
    table = rows(samples)
    if set(args.only) != set(SIZES):
        sys.stdout.write("\n".join(str(row) for row in table) + "\n")
        return
    reached = figures(samples)
    sys.stdout.write(tell(table, reached) + "\n")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": reached, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
