"""One minute of chaos with a seed of its own; ``make chaos MINUTES=10 SEED=n`` runs a long one."""

import os
import random
from pathlib import Path

import pytest

from archive_testkit.chaos.__main__ import tell
from archive_testkit.chaos.run import Plan, run
from archive_testkit.guarantees import Figure

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("chaos")
@pytest.mark.guarantee("G1", "G2", "G3", "G4", "G5", "G6", "G10")
async def test_minute_of_chaos_breaks_nothing(tmp_path: Path, figure: Figure) -> None:
    verdict = await run(Plan(seed=SEED, seconds=SECONDS, rate=30, folder=tmp_path / "notes"))
    assert verdict.figures["accepted"] > 100
    for name in ("lost", "overlap", "accepted late", "false dead letter"):
        figure(name, verdict.broken.get(name, 0))
    figure("of", verdict.figures["accepted"], "messages")
    figure("run twice", verdict.figures["run_twice_share"] * 100, "%")
    told = f"{tell(SEED, verdict)}\nagain: make chaos MINUTES={SECONDS / 60:g} SEED={SEED}"
    assert not verdict.violations, told
