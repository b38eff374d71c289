"""An engine that people add by URL is asked by the worker that is let out of the services' network."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Project

BACK_S = 180.0


@pytest.fixture(scope="module")
def outward(project: "Project") -> Iterator["Project"]:
    """A second project with a worker that serves engines that are added."""
    here = Path(__file__).parent
    overlays = [here.parents[1] / "compose" / "engine-host.yaml", here / "beyond.yaml"]
    with project.beside("archive-beyond", *overlays) as outward:
        yield outward


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + BACK_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.5)


def test_engine_that_is_added_by_url_answers(outward: "Project") -> None:
    """The services' network does not reach it; the worker that is let out does."""
    url, key = outward.address(outward.containers("gateway")[0]), {"authorization": f"Bearer {outward.key}"}
    added = {"name": "beyond", "pool": "beyond", "base_url": "http://beyond:8001/v1"}
    asked = {"model": "beyond", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    with httpx.Client(base_url=url, headers=key, timeout=120) as http:
        told = http.post("/v1/engines", json=added).raise_for_status().json()
        assert told["hosted"]
        wait_for(lambda: http.post("/v1/chat/completions", json=asked).status_code == 200)
