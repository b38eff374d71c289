"""The page without JavaScript."""

import re
from collections.abc import Generator
from typing import Any

import pytest
import redis
from browser_hands import WAIT_MS

from archive_testkit.documents import FACTS
from archive_testkit.system import ArchiveSystem


@pytest.fixture
def plain(chromium: Any, system: ArchiveSystem) -> Generator[Any, None, None]:
    """A browser that runs no script."""
    context = chromium.new_context(base_url=system.run_info["console_url"], java_script_enabled=False)
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


def until(page: Any, shown: Any) -> None:
    """Load the page again until it shows this: nothing comes by itself."""
    for _ in range(120):
        if shown.count():
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(f"the page does not come to show {shown}")


def ask(page: Any, question: str, mode: str) -> None:
    page.get_by_label(mode, exact=True).check(force=True)
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".question", has_text=question).wait_for()


def test_question_is_answered_without_script(plain: Any, library: str) -> None:
    plain.goto("/documents")
    until(plain, plain.get_by_text(library))
    plain.goto("/")
    ask(plain, FACTS[1].question, "Ask documents")
    until(plain, plain.get_by_role("button", name="Retry"))
    assert re.search(r"Lindqvist", plain.locator(".answer").inner_text())


def test_file_is_added_and_deleted_without_script(plain: Any) -> None:
    file = {"name": "scriptless.txt", "mimeType": "text/plain", "buffer": b"The scriptless heron stands still."}
    plain.goto("/documents")
    plain.locator("#file").set_input_files([file])
    plain.get_by_role("button", name="Add", exact=True).click()
    row = plain.locator("tr", has_text="scriptless.txt")
    until(plain, row.locator(".state.ready"))
    row.get_by_role("button", name="Delete").click()
    plain.get_by_role("heading", name="Delete scriptless.txt?").wait_for()
    plain.get_by_role("link", name="Cancel").click()
    until(plain, row.locator(".state.ready"))
    row.get_by_role("button", name="Delete").click()
    plain.get_by_role("button", name="Delete").click()
    plain.get_by_role("heading", name="Documents").wait_for()
    until(plain, plain.locator("#live"))
    assert row.count() == 0


def test_answer_is_stopped_and_deleted_without_script(plain: Any) -> None:
    plain.goto("/")
    ask(plain, "Write a long story about a heron.", "Chat")
    plain.get_by_role("button", name="Stop").click()
    until(plain, plain.get_by_text("Stopped."))
    address = plain.url.partition("#")[0]
    plain.get_by_text("More", exact=True).click()
    plain.get_by_role("button", name="Delete").click()
    plain.get_by_role("heading", name="Delete the conversation").wait_for()
    assert plain.request.get(address).status == 200
    plain.get_by_role("button", name="Delete").click()
    plain.get_by_text("What would you like to know?").wait_for()
    assert plain.goto(address).status == 404


def test_letters_are_dropped_once_that_is_meant_without_script(plain: Any, system: ArchiveSystem) -> None:
    with redis.Redis.from_url(str(system.run_info["bus_url"])) as server:  # pyright: ignore[reportUnknownMemberType]
        for _ in range(2):
            server.xadd("{documents.commands:0}", {"type": "document.ingest.v1", "data": "no json, scriptless"})
    plain.goto("/system/dead?q=documents.commands&group=librarian")
    drop = plain.get_by_role("button", name="Drop 2 letters")
    until(plain, drop)
    plain.locator("#all-reason").fill("of a scriptless test")
    drop.click()
    plain.get_by_role("heading", name="Drop 2 dead letters?").wait_for()
    plain.get_by_role("button", name="Drop").click()
    plain.get_by_text("No dead letters match").wait_for()
    assert "q=documents.commands" in plain.url
    assert "group=librarian" in plain.url
