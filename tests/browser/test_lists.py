"""Lists are leafed through and searched in place: no page is loaded, nothing typed or focused is lost."""

from typing import Any

from browser_hands import focused, kept, tabbed

from archive_contracts.conversations import RecordAnswer, RecordQuestion
from archive_testkit.system import ArchiveSystem

TALKS = 60


def stay(page: Any) -> None:
    """Leave a mark that a loaded page would not bear."""
    page.evaluate("document.body.dataset.stays = 'yes'")


def stayed(page: Any) -> bool:
    return bool(page.evaluate("document.body.dataset.stays === 'yes'"))


def heading(page: Any, number: int) -> Any:
    return page.locator(".headings span", has_text=f"Zymurgy {number:02}?")


def test_conversations_are_leafed_through_in_place(page: Any, system: ArchiveSystem) -> None:
    changes: list[RecordQuestion | RecordAnswer] = []
    for number in range(TALKS):
        name, at = f"leaf{number:02}", 1e9 + number
        asked = RecordQuestion(
            conversation_id=name, turn_id=name, mode="chat", text=f"Zymurgy {number:02}?", asked_at=at
        )
        changes += [asked, RecordAnswer(conversation_id=name, turn_id=name, status="done", text="Yes.", ended_at=at)]
    kept(system, *changes)
    page.goto("/")
    page.get_by_label("Your question").fill("half a question")
    stay(page)
    page.locator("#find").fill("zymurgy")
    page.locator("#find").press("Enter")
    heading(page, 59).wait_for()
    assert focused(page) == "find"
    page.get_by_role("link", name="Older").click()
    heading(page, 0).wait_for()
    assert page.locator(".headings li").count() == TALKS - 50
    assert "from=50" in page.url
    page.get_by_role("link", name="Newer").focus()
    page.keyboard.press("Enter")
    heading(page, 59).wait_for()
    assert (stayed(page), page.get_by_label("Your question").input_value()) == (True, "half a question")
    assert page.locator("#told").inner_text() != ""


def test_going_back_shows_the_list_before(page: Any, library: str) -> None:
    page.goto("/documents")
    page.get_by_role("link", name=library).wait_for()
    stay(page)
    page.locator("#find").fill("no such name")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing is called that").wait_for()
    assert stayed(page)
    assert page.locator("#find").input_value() == "no such name"
    assert "q=no" in page.url
    page.go_back()
    page.get_by_role("link", name=library).wait_for()
    assert "q=" not in page.url
    assert page.evaluate("Object.keys(sessionStorage).filter(key => key.includes('cache'))") == []


def test_list_that_was_swapped_is_live(page: Any, library: str) -> None:
    page.goto("/documents")
    stay(page)
    with page.expect_response("**/documents/events?q=late*"):
        page.locator("#find").fill("late-comer")
        page.keyboard.press("Enter")
    file = {"name": "late-comer.txt", "mimeType": "text/plain", "buffer": b"The late comer sings at noon."}
    other = page.context.new_page()
    other.goto("/documents")
    other.locator("#file").set_input_files([file])
    other.get_by_role("button", name="Add", exact=True).click()
    page.bring_to_front()
    page.get_by_role("link", name="late-comer.txt").wait_for()
    assert stayed(page)


def test_views_of_jobs_keep_focus_and_search(page: Any, library: str) -> None:
    page.goto("/system/jobs")
    page.get_by_role("link", name=library).first.wait_for()
    stay(page)
    tabbed(page, page.locator("#view-failed"))
    page.keyboard.press("Enter")
    page.locator("#view-failed[aria-current]").wait_for()
    assert focused(page) == "view-failed"
    page.locator("#find").fill("no such job")
    page.keyboard.press("Enter")
    page.get_by_text("No job is like that").wait_for()
    assert stayed(page)
    assert "view=failed" in page.url


def test_focus_outlives_what_comes_by_itself(page: Any, library: str) -> None:
    page.goto("/documents")
    row = page.locator("tr", has_text=library)
    again = row.get_by_role("button", name="Read again")
    again.focus()
    row.evaluate("row => { row.dataset.old = 'yes'; }")
    other = page.context.new_page()
    other.goto("/documents")
    file = {"name": "passer-by.txt", "mimeType": "text/plain", "buffer": b"A passer-by whistles."}
    other.locator("#file").set_input_files([file])
    other.get_by_role("button", name="Add", exact=True).click()
    page.bring_to_front()
    page.get_by_role("link", name="passer-by.txt").wait_for()
    assert row.get_attribute("data-old") is None
    assert again.evaluate("element => element === document.activeElement")
