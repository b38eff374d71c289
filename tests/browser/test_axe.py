"""Every page by the rules of axe, in light and dark."""

import importlib
from typing import Any

import pytest

from archive_testkit.system import ArchiveSystem

PAGES = (
    *(
        "/",
        "/documents",
        "/system",
        "/system/streams",
        "/system/jobs",
        "/system/dead",
        "/system/engines",
        "/system/actions",
    ),
    *("/system/streams/engine.events", "/login", "/nothing"),
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_page_has_no_serious_finding(
    chromium: Any, system: ArchiveSystem, library: str, path: str, scheme: str
) -> None:
    axe: Any = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
    url = system.run_info["console_url"]
    context = chromium.new_context(base_url=url, bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(path)
    found = axe.run(page).response["violations"]
    context.close()
    serious = [item for item in found if item["impact"] in {"serious", "critical"}]
    told = [(item["id"], [node["html"][:120] for node in item["nodes"]][:3]) for item in serious]
    assert told == []
