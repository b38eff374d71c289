"""What a message costs, as a proof: CPU time, and bare redis-py beside it in the same run; never a rate."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from archive_testkit.guarantees import Figure

BENCH = Path(__file__).parent / "bench_bus.py"
ROUNDS = 3


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("speed")
@pytest.mark.guarantee("G15")
def test_guarantees_cost_little_cpu(figure: Figure) -> None:
    words = [sys.executable, str(BENCH), "--rounds", str(ROUNDS), "--only", "raw", "ours"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = [ast.literal_eval(line) for line in told.splitlines()]
    reached = {(row["contender"], row["figure"]): float(row["median"]) for row in rows}
    consume, publish = reached["ours", "consume_cpu_us"], reached["ours", "publish_cpu_us"]
    beside_raw = reached["ours", "request_p50_ms"] / reached["raw", "request_p50_ms"]
    figure("consume", consume, "us")
    figure("consume", consume / reached["raw", "consume_cpu_us"], "x raw")
    figure("publish", publish, "us")
    figure("request p50", beside_raw, "x raw")
    # Twice the aims: a machine of another age is no fault of the code, a loop that costs double is.
    assert consume < 30
    assert publish < 40
    assert beside_raw < 6
