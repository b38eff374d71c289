"""Gateways, routers, workers, engines and servers are killed in turn while answers stream."""

from pathlib import Path

import pytest

from archive_testkit.answers.run import Plan, run


@pytest.mark.e2e
@pytest.mark.timeout(400)
async def test_every_answer_ends_true(tmp_path: Path) -> None:
    verdict = await run(Plan(folder=tmp_path, answers=50, words=80, at_once=50, every_s=1.0))
    assert verdict.wrong == {}
    assert verdict.forbidden == []
    assert verdict.figures["silent"] == 0
    assert verdict.figures["complete"] > 0
    assert verdict.figures["resumed"] > 0
    assert verdict.kinds == {"gateway", "router", "worker", "engine", "state", "bus"}
