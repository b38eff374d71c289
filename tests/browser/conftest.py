"""One running system, and a real browser in front of its page."""

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from archive_testkit.documents import FACTS, pdf
from archive_testkit.system import ArchiveSystem

WAIT_MS = 60_000
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
