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
    outward = type(project)(project.engine, project.secrets, name="archive-beyond", overlays=overlays)
    # The first one rests meanwhile: the health checks of twelve more containers would take a processor.
    resting = project.run("ps", "--quiet").split()
    project.engine.docker("pause", *resting)
    try:
        outward.up()
        yield outward
    finally:
        outward.stop()
        project.engine.docker("unpause", *resting)


def address(outward: "Project", gateway: str) -> str:
    return f"http://{outward.engine.docker('port', gateway, '8080').split()[0]}"


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + BACK_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.5)


def test_engine_that_is_added_by_url_answers(outward: "Project") -> None:
    """The services' network does not reach it; the worker that is let out does."""
    url, key = address(outward, outward.containers("gateway")[0]), {"authorization": f"Bearer {outward.key}"}
    added = {"name": "beyond", "pool": "beyond", "base_url": "http://beyond:8001/v1"}
    asked = {"model": "beyond", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    with httpx.Client(base_url=url, headers=key, timeout=120) as http:
        told = http.post("/v1/engines", json=added).raise_for_status().json()
        assert told["hosted"]
        wait_for(lambda: http.post("/v1/chat/completions", json=asked).status_code == 200)
