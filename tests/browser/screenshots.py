"""Writes a picture of each page at both widths: ``python screenshots.py FOLDER``."""
# Only the browser's lane installs Playwright, so nothing is known of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingImports=false
# pyright: reportUnknownArgumentType=false

import importlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archive_testkit.documents import FACTS, pdf
from archive_testkit.system import ArchiveSystem

PAGES: Mapping[str, str] = {
    "welcome": "/",
    "documents": "/documents",
    "overview": "/system",
    "streams": "/system/streams",
    "jobs": "/system/jobs",
    "dead": "/system/dead",
    "engines": "/system/engines",
    "actions": "/system/actions",
    "missing": "/nothing",
}
WIDTHS = (1440, 390)


def main(folder: Path) -> None:
    """Start a system, ask it something, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    sync_api: Any = importlib.import_module("playwright.sync_api")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "almanac.pdf"
        file.write_bytes(pdf(FACTS))
        system = ArchiveSystem(Path(scratch) / "home", options=("--ports", "console=0")).start()
        try:
            system.command("ingest", str(file))
            with sync_api.sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                _take(browser, str(system.run_info["console_url"]), folder)
                browser.close()
        finally:
            system.stop()


def _take(browser: Any, url: str, folder: Path) -> None:
    pages = dict(PAGES) | _asked(browser, url)
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            size = {"width": width, "height": 900}
            page = browser.new_context(base_url=url, viewport=size, color_scheme=scheme).new_page()
            for name, path in pages.items():
                page.goto(path)
                page.wait_for_timeout(700)
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")


def _asked(browser: Any, url: str) -> dict[str, str]:
    """Ask two questions; return the pages of the answers and of a source."""
    page = browser.new_context(base_url=url).new_page()
    page.goto("/")
    page.get_by_label("Your question").fill(FACTS[0].question)
    page.keyboard.press("Enter")
    page.locator(".sources a").first.wait_for(timeout=120_000)
    source = str(page.locator(".sources a").first.get_attribute("href"))
    return {"answer": page.url.removeprefix(url), "source": source}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
