"""Writes a picture of each page at both widths, and that of the READMEs: ``python screenshots.py FOLDER``."""
# Only the browser's lane installs Playwright, so nothing is known of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingImports=false
# pyright: reportUnknownArgumentType=false

import importlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from browser_hands import ask, ended, kept, talk
from browser_lease import QUESTION, lease
from PIL import Image

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
    "stream": "/system/streams/chat.requests",
    "login": "/login",
    "prose": "/chat/prose",
    "missing": "/nothing",
}
EMPTY: Mapping[str, str] = {"first": "/", "no-documents": "/documents"}
"""Pages before anything was asked or added."""
WIDTHS = (1440, 390)
GAP = 16


def main(folder: Path) -> None:
    """Start a system, give it something to show, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    sync_api: Any = importlib.import_module("playwright.sync_api")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "lease.pdf"
        file.write_bytes(lease())
        system = ArchiveSystem(Path(scratch) / "home", options=("--ports", "console=0")).start()
        try:
            with sync_api.sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                _take(browser, str(system.run_info["console_url"]), folder, EMPTY)
                system.command("ingest", str(file))
                _trouble(str(system.run_info["bus_url"]))
                kept(system, *talk())
                pages = dict(PAGES) | _found(browser, str(system.run_info["console_url"]))
                _take(browser, str(system.run_info["console_url"]), folder, pages)
                _join(browser, str(system.run_info["console_url"]), folder, (pages["answer"], pages["source"]))
                browser.close()
        finally:
            system.stop()


def _take(browser: Any, url: str, folder: Path, pages: Mapping[str, str]) -> None:
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            size = {"width": width, "height": 900}
            page = browser.new_context(base_url=url, viewport=size, color_scheme=scheme).new_page()
            for name, path in pages.items():
                page.goto(path)
                page.wait_for_timeout(700)
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
                if name == "welcome":
                    page.locator(".options summary").click()
                    page.screenshot(path=folder / f"options-{width}-{scheme}.png")


def _trouble(bus_url: str) -> None:
    """Give the operator's pages something to show."""
    with redis.Redis.from_url(bus_url) as server:
        server.xadd("{chat.requests:0}", {"type": "chat.requested.v1", "data": "not json"})


def _found(browser: Any, url: str) -> dict[str, str]:
    """Ask a question and fetch in vain; return the pages that show one thing."""
    page = browser.new_context(base_url=url).new_page()
    page.set_default_timeout(120_000)
    page.goto("/documents")
    page.locator("#address").fill("http://127.0.0.1/private.html")
    page.get_by_role("button", name="Fetch").click()
    page.get_by_text("Not fetched").wait_for()
    page.goto("/")
    ask(page, QUESTION, "Ask documents")
    ended(page).wait_for()
    # The bundled model is small: now and then it names no source.
    while not page.locator(".answer .cite").count():
        with page.expect_navigation():
            ended(page).click()
        ended(page).wait_for()
    found = {
        "answer": page.url.removeprefix(url),
        "source": str(page.locator(".sources a").first.get_attribute("href")),
    }
    for name, path in (
        ("letter", "/system/dead"),
        ("message", "/system/streams/engine.events"),
        ("job", "/system/jobs"),
    ):
        page.goto(path)
        found[name] = str(page.locator("tbody a").first.get_attribute("href"))
    return found


def _join(browser: Any, url: str, folder: Path, paths: Sequence[str]) -> None:
    """Write the READMEs' picture: an answer, and below it its source."""
    size = {"width": 1080, "height": 520}
    page = browser.new_context(base_url=url, viewport=size, color_scheme="light").new_page()
    whole = Image.new("RGB", (size["width"], len(paths) * (size["height"] + GAP) - GAP), "#c9c9c3")
    for number, path in enumerate(paths):
        page.goto(path)
        # A page of the PDF is drawn meanwhile; the chat's own stream never falls silent.
        page.wait_for_timeout(3000)
        page.evaluate("scrollTo(0, 0)")
        shot = folder / f"part-{number}.png"
        page.screenshot(path=shot)
        with Image.open(shot) as part:
            whole.paste(part, (0, number * (size["height"] + GAP)))
        shot.unlink()
    whole.quantize(128).save(folder / "page.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
