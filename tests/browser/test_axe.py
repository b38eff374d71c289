"""Every page by the rules of axe, in light and dark."""

import importlib
from typing import Any

import pytest
import redis

from archive_testkit.documents import FACTS
from archive_testkit.system import ArchiveSystem

WAIT_MS = 60_000
DEEP = ("answer", "source", "letter", "message", "job")


@pytest.fixture(scope="session")
def deep(chromium: Any, system: ArchiveSystem, library: str) -> dict[str, str]:
    """The addresses of pages that show one thing: an answer, its source, a letter, a message, a job."""
    with redis.Redis.from_url(str(system.run_info["bus_url"])) as server:  # pyright: ignore[reportUnknownMemberType]
        server.xadd("{chat.requests:0}", {"type": "chat.requested.v1", "data": "not json either"})
    context = chromium.new_context(base_url=system.run_info["console_url"])
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto("/")
    page.get_by_label("Ask documents", exact=True).check(force=True)
    page.get_by_label("Your question").fill(FACTS[2].question)
    page.keyboard.press("Enter")
    found = {"source": page.locator(".sources a").first.get_attribute("href"), "answer": page.url.partition("#")[0]}
    page.goto("/system/dead")
    found["letter"] = page.get_by_role("link", name="Look into it").first.get_attribute("href")
    page.goto("/system/streams/engine.events")
    found["message"] = page.locator("tbody a").first.get_attribute("href")
    page.goto("/system/jobs")
    found["job"] = page.locator("tbody a").first.get_attribute("href")
    context.close()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", DEEP)
def test_deep_page_has_no_serious_finding(
    chromium: Any, system: ArchiveSystem, deep: dict[str, str], name: str, scheme: str
) -> None:
    assert serious_findings(chromium, system, deep[name], scheme) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_serious_finding(
    chromium: Any, system: ArchiveSystem, library: str, path: str, scheme: str
) -> None:
    assert serious_findings(chromium, system, path, scheme) == []


def serious_findings(chromium: Any, system: ArchiveSystem, path: str, scheme: str) -> list[Any]:
    axe: Any = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
    url = system.run_info["console_url"]
    context = chromium.new_context(base_url=url, bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(path)
    found = axe.run(page).response["violations"]
    context.close()
    serious = [item for item in found if item["impact"] in {"serious", "critical"}]
    return [(item["id"], [node["html"][:120] for node in item["nodes"]][:3]) for item in serious]
