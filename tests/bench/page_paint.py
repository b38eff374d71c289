"""From a click on a long list to the paint of its next page, in a real Chromium."""
# Only the browser's lane installs Playwright, so nothing is known of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingImports=false

import importlib
import re
import shutil
from statistics import median
from typing import Any

ROUNDS = 12
# The moment of the click is kept over the navigation. The list is on the screen with the frame after the one in which
# it is found: what is counted ends in that second frame.
WATCH = """
const began = (event) => sessionStorage.setItem("began", performance.timeOrigin + event.timeStamp);
addEventListener("click", began, true);
addEventListener("submit", began, true);
const paint = (at) => {
    document.documentElement.dataset.painted = performance.timeOrigin + at - sessionStorage.getItem("began");
};
const look = () => requestAnimationFrame(document.querySelector("tbody tr, .headings li") ? paint : look);
requestAnimationFrame(look);
"""
LISTS = {"documents": "/documents", "conversations": "/", "jobs": "/system/jobs"}


def paints(url: str) -> dict[str, float]:
    """Return, for each list, the median milliseconds to the paint: from a click on "Older", and from a search."""
    sync_api: Any = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(base_url=url)
        context.add_init_script(WATCH)
        page = context.new_page()
        figures: dict[str, float] = {}
        for name, path in LISTS.items():
            figures[f"{name}_turn_paint_ms"] = round(median(_turned(page, path)), 1)
            figures[f"{name}_search_paint_ms"] = round(median(_searched(page, path)), 1)
        browser.close()
    return figures


def _turned(page: Any, path: str) -> list[float]:
    page.goto(path)
    # At the end of a short list it goes back and forth.
    older = page.get_by_role("link", name=re.compile("^(Newer|Older)$")).last
    return [_after(page, older) for _ in range(ROUNDS)]


def _searched(page: Any, path: str) -> list[float]:
    times: list[float] = []
    for number in range(ROUNDS):
        page.goto(path)
        page.locator("#find").fill(f"file-{number}")
        times.append(_after(page, page.locator("#find"), key="Enter"))
    return times


def _after(page: Any, target: Any, *, key: str = "") -> float:
    target.wait_for()
    with page.expect_navigation(wait_until="commit"):
        if key:
            target.press(key)
        else:
            target.click()
    # The policy of the page forbids to wait for an expression.
    return float(page.locator("html[data-painted]").get_attribute("data-painted"))
