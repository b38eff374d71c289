"""An engine that people add by URL is asked by the worker that is let out of the services' network."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from archive_testkit.waiting import wait_for

if TYPE_CHECKING:
    from conftest import Project


@pytest.fixture(scope="module")
def outward(project: "Project") -> Iterator["Project"]:
    """A second project with a worker that serves engines that are added."""
    here = Path(__file__).parent
    overlays = [here.parents[1] / "compose" / "engine-host.yaml", here / "beyond.yaml"]
    with project.beside("archive-beyond", *overlays) as outward:
        yield outward


def test_engine_that_is_added_by_url_answers(outward: "Project") -> None:
    """The services' network does not reach it; the worker that is let out does."""
    url, key = outward.address(outward.containers("gateway")[0]), {"authorization": f"Bearer {outward.key}"}
    added = {"name": "beyond", "pool": "beyond", "base_url": "http://beyond:8001/v1"}
    asked = {"model": "beyond", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    with httpx.Client(base_url=url, headers=key, timeout=120) as http:
        told = http.post("/v1/engines", json=added).raise_for_status().json()
        assert told["hosted"]
        answer = "/v1/chat/completions"
        wait_for(lambda: http.post(answer, json=asked).status_code == 200, within=180.0, every_s=0.5)
