"""Every service's containers are replaced one after the other under traffic, and no request fails.

The console is replaced, too, and not asked: it has one process, which owns its volume.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from archive_testkit import waiting
from archive_testkit.traffic import Answers, Ask, Traffic, chat, embed, search, upload

if TYPE_CHECKING:
    from conftest import Project

ROLLED = (
    *("gateway", "console", "router", "agent", "tool-runner", "librarian", "memory", "engine-embed"),
    *("engine-small", "engine-small-2"),
)
wait_for = partial(waiting.wait_for, within=180.0, every_s=0.5)


def run(http: httpx.Client, number: int) -> str:
    """Have the agent use tools; the bundled model is fluent and rarely right."""
    reply = http.post("/agent", json={"question": f"What is 6 times 7? ({number})", "max_steps": 2})
    return "done" if reply.status_code == 200 else f"{reply.status_code} {reply.text[:300]}"


KINDS: dict[str, Ask] = {"chat": chat("auto"), "embedding": embed, "search": search, "document": upload, "agent": run}


class Balancer(httpx.BaseTransport):
    """Leads each request to the first gateway of a list that changes; none is sent twice."""

    def __init__(self, gateways: list[str]) -> None:
        self._gateways = gateways
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request where the list says."""
        chosen = httpx.URL(self._gateways[0])
        request.url = request.url.copy_with(host=chosen.host, port=chosen.port)
        return self._inner.handle_request(request)

    def close(self) -> None:
        """End all connections."""
        self._inner.close()


@pytest.fixture(scope="module")
def pair(project: "Project") -> Iterator["Project"]:
    """A second project, with two of whatever a caller waits for."""
    overlays = [Path(__file__).parent / "two.yaml"]
    with project.beside("archive-rolled", *overlays) as pair:
        yield pair


def restart(pair: "Project", container: str) -> None:
    """Stop a container and start it, until it says that it is well."""

    def health() -> str:
        return pair.engine.docker("inspect", "--format", "{{.State.Health.Status}}", container).strip()

    pair.stop_at_work(container)
    pair.engine.docker("start", container)
    wait_for(lambda: health() == "healthy")


def test_everything_is_replaced_under_traffic(pair: "Project") -> None:
    answers = Answers()
    gateways = {container: pair.address(container) for container in pair.containers("gateway")}
    open_to = list(gateways.values())
    assert len(open_to) > 1

    def caller(_kind: str) -> httpx.Client:
        key = {"authorization": f"Bearer {pair.key}"}
        return httpx.Client(base_url="http://gateway", headers=key, timeout=120, transport=Balancer(open_to))

    with Traffic(KINDS, caller, answers) as traffic:
        wait_for(lambda: traffic.count() >= 1)
        for service in ROLLED:
            for container in pair.containers(service):
                # A balancer leads callers past a gateway before it ends; what it has begun there it finishes.
                if container in gateways:
                    open_to.remove(gateways[container])
                restart(pair, container)
                if container in gateways:
                    open_to.append(pair.address(container))
                at = traffic.counted()
                wait_for(lambda at=at: all(count > at[kind] for kind, count in traffic.counted().items()))
    assert {kind: set(told) for kind, told in answers.items()} == {kind: {"done"} for kind in KINDS}
    found = {(each["check"], each["level"], each["what"]) for each in pair.examine()}
    assert [each for each in found if each[1] == "failure"] == []
    assert ("dead letters", "ok", "none") in found
