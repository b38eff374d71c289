"""From a click on a long list to the paint of its next page, in a real Chromium."""
# Only the browser's lane installs Playwright, so nothing is known of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingImports=false

import importlib
import re
import shutil
from statistics import median
from typing import Any

ROUNDS = 12
# From the input to the frame after the one that shows the new list: by then it is on the screen. Where the browser
# leaves the page for it, the moment of the input is kept over the navigation. Event Timing tells of the same input how
# long the page took to paint anything at all (INP), in steps of 8 ms and only what took 16 or more.
WATCH = """
const list = () => document.getElementById("list");
const shown = () => document.querySelector("tbody tr, .headings li, .empty");
// Not there yet when this script begins.
const told = () => document.documentElement.dataset;
let old = null;
const began = (event) => {
    if (event.type === "keydown" && event.key !== "Enter") return;
    old = list();
    delete told().painted;
    sessionStorage.setItem("began", performance.timeOrigin + event.timeStamp);
    requestAnimationFrame(look);
};
const paint = (at) => {
    told().painted = performance.timeOrigin + at - sessionStorage.getItem("began");
};
const look = () => requestAnimationFrame(shown() && list() !== old ? paint : look);
addEventListener("click", began, true);
addEventListener("keydown", began, true);
requestAnimationFrame(look);
new PerformanceObserver((entries) => {
    for (const entry of entries.getEntries()) {
        if (entry.interactionId) told().inp = Math.max(entry.duration, told().inp ?? 0);
    }
}).observe({ type: "event", durationThreshold: 16 });
"""
LISTS = {"documents": "/documents", "conversations": "/", "jobs": "/system/jobs"}


def paints(url: str) -> dict[str, float]:
    """Return, for each list, the median milliseconds to its paint: from a click on "Older", and from a search.

    Before them how long the first page takes to its first paint; beside them the longest that any of these inputs
    waited for the next paint of whatever kind.
    """
    sync_api: Any = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(base_url=url)
        context.add_init_script(WATCH)
        page = context.new_page()
        figures = {"first_paint_ms": round(median(_opened(page) for _ in range(ROUNDS // 2)), 1)}
        for name, path in LISTS.items():
            page.goto(path)
            figures[f"{name}_turn_paint_ms"] = round(median(_turned(page)), 1)
            figures[f"{name}_search_paint_ms"] = round(median(_searched(page)), 1)
            figures[f"{name}_inp_ms"] = float(page.evaluate("document.documentElement.dataset.inp ?? 16"))
        browser.close()
    return figures


def _opened(page: Any) -> float:
    """Return the milliseconds from asking for the first page to its first paint with content."""
    page.goto("/")
    page.locator("#text").wait_for()
    told = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    while not (painted := float(page.evaluate(told))):
        page.wait_for_timeout(20)
    return painted


def _turned(page: Any) -> list[float]:
    # At the end of a short list it goes back and forth.
    older = page.get_by_role("link", name=re.compile("^(Newer|Older)$")).last
    return [_after(page, older) for _ in range(ROUNDS)]


def _searched(page: Any) -> list[float]:
    times: list[float] = []
    for number in range(ROUNDS):
        page.locator("#find").fill(f"file-{number}")
        times.append(_after(page, page.locator("#find"), key="Enter"))
    return times


def _after(page: Any, target: Any, *, key: str = "") -> float:
    target.wait_for()
    # What the page before still has to say is not waited for: people click when they see.
    if key:
        target.press(key)
    else:
        target.click()
    # The policy of the page forbids to wait for an expression.
    return float(page.locator("html[data-painted]").get_attribute("data-painted"))
