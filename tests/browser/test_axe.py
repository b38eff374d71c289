"""Every page by the rules of axe, in light and dark."""

import importlib
from typing import Any

import pytest
from browser_hands import DEEP

from archive_testkit.system import ArchiveSystem


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
