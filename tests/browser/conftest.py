"""One running system, and a real browser in front of its page."""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import redis

from archive_testkit.documents import FACTS, pdf
from archive_testkit.system import ArchiveSystem

# Test folders are no packages; browser_hands is a name that no other tests use.
sys.path.append(str(Path(__file__).parent))

from browser_hands import WAIT_MS, kept, talk

PAGES = (
    "/",
    "/documents",
    "/system",
    "/system/streams",
    "/system/streams/engine.events",
    "/system/jobs",
    "/system/dead",
    "/system/engines",
    "/system/actions",
    "/login",
    "/nothing",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these in their own lane only: they need a browser and minutes."""
    for item in items:
        if "browser" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if os.environ.get("TEST_BROWSER") != "1":
                item.add_marker(pytest.mark.skip(reason="needs Chromium: make test-browser runs it"))
    # The system of this lane is empty only once.
    items.sort(key=lambda item: item.path.name != "test_first_run.py")


@pytest.fixture(scope="session")
def chromium() -> Generator[Any, None, None]:
    """Debian's Chromium. Any, since only this lane installs Playwright."""
    sync_api: Any = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    assert path, "chromium is not installed"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Generator[ArchiveSystem, None, None]:
    """The whole system with the bundled model."""
    running = ArchiveSystem(tmp_path_factory.mktemp("browser") / "home", options=("--ports", "console=0")).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def library(system: ArchiveSystem, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An almanac in the library; returns its file name."""
    path = tmp_path_factory.mktemp("files") / "almanac.pdf"
    path.write_bytes(pdf(FACTS))
    system.command("ingest", str(path))
    return path.name


@pytest.fixture(params=PAGES)
def path(request: pytest.FixtureRequest) -> str:
    """Each page that needs nothing to be there."""
    return str(request.param)


@pytest.fixture
def page(chromium: Any, system: ArchiveSystem) -> Generator[Any, None, None]:
    """A new browser at the page; it fails the test when the page asks anybody else or a script fails."""
    url = str(system.run_info["console_url"])
    context = chromium.new_context(base_url=url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    opened = context.new_page()
    foreign, failed = list[str](), list[str]()

    def asked(request: Any) -> None:
        if not str(request.url).startswith(url):
            foreign.append(str(request.url))

    def broke(error: Any) -> None:
        failed.append(str(error))

    def agree(dialog: Any) -> None:
        dialog.accept()

    opened.on("request", asked)
    opened.on("pageerror", broke)
    opened.on("dialog", agree)
    yield opened
    context.close()
    assert (foreign, failed) == ([], [])


@pytest.fixture(scope="session")
def deep(chromium: Any, system: ArchiveSystem, library: str) -> dict[str, str]:
    """The addresses of pages that show one thing: an answer, its source, a letter, a stream, a message, a job."""
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
    kept(system, *talk())
    found["prose"] = "/chat/prose"
    found["stream"] = "/system/streams/chat.requests"
    page.goto("/system/streams/engine.events")
    found["message"] = page.locator("tbody a").first.get_attribute("href")
    page.goto("/system/jobs")
    found["job"] = page.locator("tbody a").first.get_attribute("href")
    context.close()
    return found
