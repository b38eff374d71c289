"""A minute of chaos with a seed of its own, less of it on Redis; ``make chaos MINUTES=10 SEED=n`` runs a long one."""

import os
import random
import shutil
from pathlib import Path

import pytest

from archive_testkit.chaos.__main__ import again, tell
from archive_testkit.chaos.checker import Verdict
from archive_testkit.chaos.run import Plan, run
from archive_testkit.guarantees import Figure

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
REDIS = "redis-server"
PROVED = ("G1", "G2", "G3", "G4", "G5", "G6", "G10")


def judge(verdict: Verdict, figure: Figure, *, seconds: float, server: str) -> None:
    for name in ("lost", "overlap", "accepted late", "false dead letter"):
        figure(name, verdict.broken.get(name, 0))
    figure("of", verdict.figures["accepted"], "messages")
    figure("run twice", verdict.figures["run_twice_share"] * 100, "%")
    assert not verdict.violations, f"{tell(SEED, verdict)}\n{again(SEED, minutes=seconds / 60, server=server)}"


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("chaos")
@pytest.mark.guarantee(*PROVED)
async def test_minute_of_chaos_breaks_nothing(tmp_path: Path, figure: Figure) -> None:
    verdict = await run(Plan(seed=SEED, seconds=SECONDS, rate=30, folder=tmp_path / "notes"))
    assert verdict.figures["accepted"] > 100
    judge(verdict, figure, seconds=SECONDS, server="valkey")


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("chaos")
@pytest.mark.guarantee(*PROVED)
@pytest.mark.skipif(not shutil.which(REDIS), reason="there is no redis-server")
@pytest.mark.parametrize("binary", [REDIS])
async def test_chaos_on_redis_breaks_nothing(tmp_path: Path, figure: Figure, binary: str) -> None:
    seconds = min(SECONDS, 15.0)
    verdict = await run(Plan(seed=SEED, seconds=seconds, rate=30, folder=tmp_path / "notes", binary=binary))
    assert verdict.figures["accepted"] > 20
    judge(verdict, figure, seconds=seconds, server="redis")
