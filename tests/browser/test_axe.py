"""Every page by the rules of axe, at both widths, in light and dark; and that none of them scrolls sideways."""

from typing import Any

import pytest
from browser_hands import DEEP, flaws


@pytest.mark.parametrize("name", DEEP)
def test_deep_page_has_no_flaw(page: Any, deep: dict[str, str], name: str) -> None:
    page.goto(deep[name])
    assert flaws(page) == []


def test_page_has_no_flaw(page: Any, library: str, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(path)
    assert flaws(page) == []


@pytest.mark.parametrize("menu", [".options", ".keys", ".title .menu"])
def test_open_menu_has_no_flaw(page: Any, deep: dict[str, str], menu: str) -> None:
    page.goto(deep["answer"])
    page.locator(f"{menu} > summary").click()
    assert flaws(page, f"{menu}[open]") == []


def test_question_before_a_deletion_has_no_flaw(page: Any, deep: dict[str, str]) -> None:
    page.goto(deep["answer"])
    # As a browser without script sends it: nobody is asked on the way.
    page.locator("form[action$='/delete']").evaluate("form => form.submit()")
    page.get_by_role("heading", name="Delete the conversation").wait_for()
    assert flaws(page) == []


def test_trouble_has_no_flaw(page: Any) -> None:
    page.goto("/documents?q=nowhere")
    page.get_by_text("Nothing is called that").wait_for()
    page.locator("#file").set_input_files([{"name": "hollow.txt", "mimeType": "text/plain", "buffer": b""}])
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#sending .failed", has_text="No content").wait_for()
    page.evaluate("notice('The console does not answer.', 'See whether it runs.'); lost.hidden = false")
    assert flaws(page) == []
