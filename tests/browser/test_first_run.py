"""What new people meet: nothing is there yet. These run before all others, while that is so."""

from typing import Any

import pytest
from browser_hands import ended, flaws, ready

SAMPLE = "welcome-to-archive-ai.md"


@pytest.mark.parametrize("path", ["/", "/documents"])
def test_empty_page_has_no_flaw(page: Any, path: str) -> None:
    page.goto(path)
    page.get_by_role("button", name="sample").wait_for()
    assert flaws(page) == []


def test_new_person_reaches_the_cited_sentence(page: Any) -> None:
    page.goto("/")
    page.get_by_role("button", name="Try a sample").click()
    ready(page, SAMPLE)
    page.get_by_role("link", name="Chat").click()
    page.locator(".suggested a").first.wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    for offered in page.locator(".suggested a").all():
        place = offered.bounding_box()
        assert place["x"] > 8
        assert place["x"] + place["width"] < 382
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator(".suggested a").first.click()
    page.get_by_role("button", name="Ask", exact=True).click()
    ended(page).wait_for()
    # The bundled model is small: now and then it names no source, and people ask it again.
    for _ in range(3):
        if not page.locator(".answer .cite").count():
            with page.expect_navigation():
                ended(page).click()
            ended(page).wait_for()
    page.locator(".answer .cite").first.click()
    assert "fifteen seconds" in page.locator("#marked").inner_text()
    page.get_by_role("link", name="Back to the answer").click()
    page.get_by_role("link", name="Documents", exact=True).click()
    page.locator("tr", has_text=SAMPLE).get_by_role("button", name="Delete").click()
    page.get_by_text("No documents yet").wait_for()
