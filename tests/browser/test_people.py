"""What people do on the page, in a real Chromium."""

from pathlib import Path
from typing import Any

from browser_hands import ask, ended, kept, ready, tabbed

from archive_contracts.agents import Source, Step
from archive_contracts.base import Problem
from archive_contracts.conversations import RecordAnswer, RecordQuestion
from archive_testkit.documents import FACTS
from archive_testkit.system import ArchiveSystem

FACT = FACTS[0]
HOSTILE = '"><img src=x onerror=document.title="owned">.txt'
OWN = "window.owned=1"
EVIL = f"<img src=x onerror={OWN}><script>{OWN}</script><svg onload={OWN}>"


def test_answer_opens_its_source_at_the_page(page: Any, library: str) -> None:
    page.goto("/")
    page.get_by_text("Only the bundled model answers").wait_for()
    ask(page, FACT.question, "Ask documents")
    ended(page).wait_for()
    source = page.locator(".sources a", has_text=f"{library}, page {FACT.page}").first
    assert "47 metres" in page.locator(".answer").last.inner_text()
    source.click()
    page.locator(".paper image").wait_for()
    assert page.locator(".marker").count() >= 1
    assert page.get_by_label("Page", exact=True).input_value() == str(FACT.page)
    assert page.locator("blockquote mark").inner_text() == FACT.sentence


def test_reload_in_the_middle_loses_nothing(page: Any) -> None:
    page.goto("/")
    ask(page, "Write a long story about a lighthouse.", "Chat")
    page.locator(".answer .prose").wait_for()
    page.reload()
    page.get_by_role("button", name="Stop").wait_for()
    before = page.locator(".answer .prose").inner_text()
    page.get_by_role("button", name="Stop").click()
    ended(page).wait_for()
    page.reload()
    assert page.locator(".answer .prose").inner_text()[:20] == before[:20]
    page.get_by_text("Stopped.").wait_for()


def test_hidden_tab_holds_no_connection(page: Any) -> None:
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    def of_events(request: Any) -> bool:
        return "/documents/events" in str(request.url)

    with page.expect_response("**/documents/events*"):
        page.goto("/documents")
    with page.expect_event("requestfailed", of_events) as closed:
        page.evaluate(hide, True)
    assert closed.value.failure == "net::ERR_ABORTED"
    with page.expect_response("**/documents/events*") as opened:
        page.evaluate(hide, False)
    assert opened.value.ok


def test_pasted_address_is_offered_and_guarded(page: Any) -> None:
    page.goto("/")
    paste = """text => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    }"""
    page.evaluate(paste, "two words")
    assert page.locator("#notice form").count() == 0
    page.evaluate(paste, "http://127.0.0.1/private.html")
    page.get_by_role("button", name="Add it to your documents").click()
    page.get_by_text("127.0.0.1 is not on the public internet.").wait_for()
    page.goto("/documents")
    failed = page.locator("tr", has_text="127.0.0.1/private.html")
    assert "LIBRARIAN_FETCH_ALLOW" in failed.inner_text()
    failed.get_by_role("button", name="Dismiss").click()
    failed.wait_for(state="detached")


def test_engine_is_connected_by_its_address(page: Any) -> None:
    page.goto("/")
    page.get_by_text("Connect one by its address").click()
    page.get_by_label("Address of the engine").fill("http://127.0.0.1:9/v1")
    page.get_by_role("button", name="Connect", exact=True).click()
    page.locator("#offers", has_text="http://127.0.0.1:9/v1").wait_for()
    page.goto("/system/engines")
    page.locator(".servers li", has_text="does not answer").wait_for()
    assert page.locator(".servers li", has_text="http://127.0.0.1:9/v1").count() == 1
    page.locator("summary", has_text="Remove").click()
    page.get_by_label("Reason").fill("nothing listens there")
    page.locator("#live").get_by_role("button", name="Remove").click()
    page.get_by_text("Added by hand").wait_for(state="detached")
    page.goto("/system/actions")
    page.get_by_text("nothing listens there").wait_for()
    assert page.get_by_text("removed an engine").count() >= 1


def test_deleted_conversation_is_gone(page: Any, system: ArchiveSystem) -> None:
    page.goto("/")
    ask(page, "Say quokkaberry", "Chat")
    ended(page).wait_for()
    address = page.url.partition("#")[0]
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("What would you like to know?").wait_for()
    assert page.goto(address).status == 404
    page.goto("/?q=quokkaberry")
    page.get_by_text("Nothing found.").wait_for()
    files = (system.home / "console").glob("conversations.db*")
    assert b"quokkaberry" not in b"".join(path.read_bytes() for path in files)


def test_hostile_names_and_words_do_nothing(page: Any, tmp_path: Path) -> None:
    page.goto("/documents")
    content = b"<script>document.title='owned'</script> Hostile text about quolls."
    page.locator("#file").set_input_files([{"name": HOSTILE, "mimeType": "text/plain", "buffer": content}])
    page.get_by_role("button", name="Add", exact=True).click()
    ready(page, "onerror")
    page.locator("tr", has_text="onerror").get_by_role("link").first.click()
    page.locator(".text").wait_for()
    assert "<script>" in page.locator(".text").inner_text()
    page.goto("/")
    ask(page, "<img src=x onerror=document.title='owned'> [x](javascript:document.title='owned')", "Chat")
    page.locator(".answer .prose").wait_for()
    # What a small model goes on to say of it proves no more; it may have said all.
    page.evaluate("document.querySelector('form[action$=\"/stop\"] button')?.click()")
    ended(page).wait_for()
    assert "owned" not in page.title().replace(HOSTILE, "").partition(" ·")[0] or "img" in page.title()
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0


def test_hostile_answer_does_nothing(page: Any, system: ArchiveSystem) -> None:
    words = f"{EVIL} [x](javascript:{OWN}) ![y](https://evil.example/z.png) [Source 1]"
    source = Source(number=1, type="library", text=EVIL, sentence=EVIL, filename=EVIL, document_id="../x", cited=True)
    step = Step(step_number=1, thought=EVIL, action=EVIL, action_input=EVIL, observation=EVIL)
    asked = RecordQuestion(conversation_id="evil", turn_id="evil", mode="agent", text=EVIL, asked_at=1.0)
    problem = Problem(code="c", message=EVIL, next_step=EVIL)
    said = RecordAnswer(
        conversation_id="evil",
        turn_id="evil",
        status="failed",
        text=words,
        engine=EVIL,
        sources=(source,),
        steps=(step,),
        error=problem,
        ended_at=2.0,
    )
    kept(system, asked, said)
    page.goto("/chat/evil")
    page.locator(".steps summary").click()
    for link in page.locator(".answer a").all():
        assert not str(link.get_attribute("href")).startswith(("javascript:", "data:"))
    page.get_by_text("owned").first.wait_for()
    assert page.evaluate("document.querySelectorAll('main img, main script, main svg').length") == 0
    assert page.evaluate("window.owned") is None


def test_question_is_edited_and_kept_to_its_document(page: Any, library: str, tmp_path: Path) -> None:
    page.goto("/documents")
    other = {"name": "quolls.txt", "mimeType": "text/plain", "buffer": b"The quoll of Ardmore sleeps 14 hours a day."}
    page.locator("#file").set_input_files([other])
    page.get_by_role("button", name="Add", exact=True).click()
    ready(page, "quolls.txt")
    page.goto("/")
    page.locator(".options summary").click()
    page.get_by_label("quolls.txt", exact=True).check()
    page.get_by_text("only 1 document").wait_for()
    page.keyboard.press("Escape")
    ask(page, FACT.question, "Ask documents")
    ended(page).wait_for()
    assert page.locator(".answer", has_text=library).count() == 0
    page.get_by_role("link", name="Edit").click()
    page.get_by_text("Editing your question.").wait_for()
    ask(page, "How long does the quoll sleep?", "Ask documents")
    page.locator(".question", has_text="How long").wait_for()
    ended(page).wait_for()
    assert (page.locator(".turn").count(), page.get_by_text("only 1 document").count()) == (1, 2)
    page.locator(".sources a", has_text="quolls.txt").first.click()
    page.locator("mark", has_text="14 hours").wait_for()
    page.get_by_role("link", name="Back to the answer").click()
    page.locator(".question", has_text="How long").wait_for()


def test_follow_up_is_understood(page: Any, library: str) -> None:
    page.goto("/documents")
    told = b"The Arnow pump has a brass valve and a tin valve. The tin valve was added by Sigrid Holm."
    page.locator("#file").set_input_files([{"name": "arnow.txt", "mimeType": "text/plain", "buffer": told}])
    page.get_by_role("button", name="Add", exact=True).click()
    ready(page, "arnow.txt")
    page.goto("/")
    ask(page, "Which valves does the Arnow pump have?", "Ask documents")
    ended(page).wait_for()
    ask(page, "And who added the second one?", "Ask documents")
    page.locator(".turn").nth(1).wait_for()
    ended(page).wait_for()
    answer = page.locator(".answer").last
    answer.locator(".sources").wait_for()
    assert answer.locator(".sources li", has_text="arnow.txt").count() >= 1
    assert "I found nothing" not in answer.inner_text()


def test_answer_is_exported_and_asked_anew(page: Any, deep: dict[str, str]) -> None:
    page.goto(deep["answer"])
    page.get_by_text("More", exact=True).click()
    for kind in ("Markdown", "JSON"):
        with page.expect_download() as coming:
            page.get_by_role("link", name=kind).click()
        assert FACTS[2].question in Path(coming.value.path()).read_text()
    earlier = page.locator(".turn").last.get_attribute("id")
    ended(page).click()
    page.locator(f"#{earlier}").wait_for(state="detached")
    ended(page).wait_for()
    assert page.locator(".turn").count() == 1


def test_keyboard_alone_asks_and_opens_a_source(page: Any, library: str) -> None:
    page.goto("/documents")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.goto("/")
    assert page.evaluate("document.activeElement.id") == "text"
    options = page.locator(".options summary")
    tabbed(page, options)
    page.keyboard.press("Enter")
    tabbed(page, page.get_by_label(library, exact=True))
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert options.evaluate("element => element === document.activeElement")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type(FACT.question)
    page.keyboard.press("Enter")
    ended(page).wait_for()
    source = page.locator(".sources a").first
    page.locator("#thread").evaluate("element => { element.tabIndex = -1; element.focus(); }")
    tabbed(page, source)
    page.keyboard.press("Enter")
    page.locator(".paper image").wait_for()


def test_times_are_in_the_readers_zone(chromium: Any, system: ArchiveSystem) -> None:
    said = RecordQuestion(conversation_id="noon", turn_id="noon", mode="chat", text="Which noon?", asked_at=1.7e9)
    done = RecordAnswer(conversation_id="noon", turn_id="noon", status="done", text="Yours.", ended_at=1.7e9)
    kept(system, said, done)
    shown: list[str] = []
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        context = chromium.new_context(
            base_url=system.run_info["console_url"], timezone_id=zone, locale="en-GB", viewport=None
        )
        page = context.new_page()
        page.goto("/chat/noon")
        shown.append(page.locator(".turn time").first.inner_text())
        context.close()
    assert [(words[:11], words[-5:]) for words in shown] == [("15 Nov 2023", "12:13"), ("14 Nov 2023", "11:13")]
