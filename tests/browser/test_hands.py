"""What the page does for the hands: keys, drafts, second presses, lines that break."""

import secrets
from typing import Any

import pytest
from browser_hands import flaws, focused, holds, kept
from browser_hands import talk as hands_talk

from archive_contracts.conversations import RecordAnswer, RecordQuestion
from archive_testkit.system import ArchiveSystem


@pytest.fixture
def talk(system: ArchiveSystem) -> str:
    """A conversation of three turns that is of one test: what others ask stays in theirs. Returns its address."""
    name, changes = f"hands{secrets.token_hex(8)}", list[RecordQuestion | RecordAnswer]()
    for number in range(3):
        turn, at = f"{name}-{number}", 1.2e9 + number
        words = "\n\n".join(f"Paragraph {line} of turn {number}." for line in range(30))
        changes += [
            RecordQuestion(conversation_id=name, turn_id=turn, mode="chat", text=f"Turn {number}?", asked_at=at),
            RecordAnswer(conversation_id=name, turn_id=turn, status="done", text=words, ended_at=at),
        ]
    kept(system, *changes)
    return f"/chat/{name}"


def test_keys_are_listed_and_work(page: Any, talk: str) -> None:
    page.goto("/documents")
    page.keyboard.press("?")
    page.locator(".keys kbd", has_text="Shift Enter").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".keys[open]").count() == 0
    page.keyboard.press("/")
    assert focused(page) == "find"
    page.keyboard.type("/?n")
    assert page.locator("#find").input_value() == "/?n"
    page.goto(talk)
    assert focused(page) == "text"
    page.locator(".title .menu summary").click()
    page.locator(".question p").last.click()
    assert page.locator(".menu[open]").count() == 0
    page.keyboard.press("/")
    page.keyboard.press("ArrowUp")
    page.get_by_text("Editing your question.").wait_for()
    assert page.locator("#text").input_value() == "Turn 2?"


def test_steps_fold_by_themselves_and_stay_as_the_reader_put_them(page: Any, system: ArchiveSystem) -> None:
    kept(system, *hands_talk())
    page.goto("/chat/prose")
    page.evaluate("""() => {
        window.complete = document.querySelector(".answer").outerHTML;
        document.querySelector(".steps").open = true;
        put(complete.replace("29.7381", "29.74"));
    }""")
    page.get_by_text("29.74,").wait_for(state="attached")
    assert page.locator(".steps[open]").count() == 0
    page.locator(".steps summary").click()
    page.evaluate("put(complete)")
    page.get_by_text("29.7381,").wait_for()
    assert flaws(page) == []
    page.set_viewport_size({"width": 1440, "height": 900})
    page.locator(".steps summary").click()
    page.evaluate("put(complete.replace('class=\"steps\"', 'class=\"steps\" open').replace('29.7381', '29.74'))")
    page.get_by_text("29.74,").wait_for(state="attached")
    assert page.locator(".steps[open]").count() == 0


def test_second_press_asks_once(page: Any) -> None:
    page.goto("/")
    page.get_by_label("Chat", exact=True).check(force=True)
    page.get_by_label("Your question").fill("Pressed twice?")
    with page.expect_navigation():
        page.evaluate("() => { composer.requestSubmit(); composer.requestSubmit(); }")
    page.locator(".question", has_text="Pressed twice?").wait_for()
    assert page.locator(".headings span", has_text="Pressed twice?").count() == 1
    page.get_by_role("button", name="Stop").or_(page.get_by_role("button", name="Retry")).first.click()


def test_half_a_question_is_kept(page: Any, talk: str) -> None:
    for address in ("/", talk):
        page.goto(address)
        page.get_by_label("Your question").fill(f"half of {address}")
    page.goto("/documents")
    for address in ("/", talk):
        page.goto(address)
        assert page.get_by_label("Your question").input_value() == f"half of {address}"


def test_drafts_are_of_one_person(page: Any, talk: str) -> None:
    page.goto(talk)
    page.get_by_label("Your question").fill("mine")
    page.evaluate("sessionStorage.setItem('draft:globex/key_b:/chat', 'a secret of Globex')")
    page.goto("/")
    assert page.get_by_label("Your question").input_value() == ""
    kept = page.evaluate("Object.entries(sessionStorage)")
    assert [words for key, words in kept if key.startswith("draft:")] == ["mine"]


def test_words_typed_meanwhile_stay(page: Any, talk: str) -> None:
    page.goto(talk)
    page.get_by_label("Your question").fill("First?")
    page.evaluate("() => { composer.requestSubmit(); document.getElementById('text').value += ' Second'; }")
    page.locator(".question", has_text="First?").wait_for()
    assert page.get_by_label("Your question").input_value() == " Second"
    page.get_by_role("button", name="Stop").or_(page.get_by_role("button", name="Retry").last).first.click()


def test_refused_question_stays(page: Any, talk: str) -> None:
    page.goto(talk)
    page.get_by_label("Your question").fill("Refused?")
    page.evaluate("document.querySelector('#composer [name=form]').value = '0'")
    page.keyboard.press("Enter")
    page.locator("#notice").get_by_text("This form is of an older session.").wait_for()
    assert page.get_by_label("Your question").input_value() == "Refused?"


def test_single_keys_are_switched_off(page: Any) -> None:
    page.goto("/documents")
    page.keyboard.press("?")
    page.locator("#single-keys").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("/")
    page.keyboard.press("?")
    assert (focused(page), page.locator(".keys[open]").count()) == ("", 0)


def test_new_documents_are_asked(page: Any, library: str) -> None:
    page.goto("/")
    page.evaluate("""() => {
        const stale = modes.outerHTML.replace(' checked=""', "").replace('value="chat"', 'value="chat" checked');
        modes.outerHTML = stale;
        return look();
    }""")
    assert page.locator("[name=mode][value=documents]").is_checked()
    page.get_by_label("Chat", exact=True).check(force=True)
    page.get_by_label("Your question").focus()
    page.evaluate("look()")
    assert page.locator("[name=mode][value=chat]").is_checked()


def test_deleted_answer_says_so(page: Any, talk: str) -> None:
    page.goto(talk)
    page.evaluate("""() => {
        const turn = Object.assign(document.createElement("article"), { id: "turn-nothing" });
        turn.dataset.stream = "/turns/nothing/events";
        thread.append(turn);
        ready(turn);
    }""")
    page.locator("#turn-nothing", has_text="was deleted, or asked anew").wait_for()
    assert page.locator("#lost").is_hidden()


def test_earlier_answer_is_opened_where_it_is(page: Any, talk: str) -> None:
    page.goto(f"{talk}#turn-{talk.removeprefix('/chat/')}-0")
    holds(page, "window.scrollY < 200")
    assert [retry.is_visible() for retry in page.locator(".turn .retry").all()] == [False, False, True]
    page.goto("/documents")
    page.goto(talk)
    holds(page, "window.scrollY > 400")


def test_selected_words_are_not_pulled_away(page: Any, talk: str) -> None:
    page.goto(talk)
    answer = page.locator(".answer").nth(1)
    answer.evaluate("element => document.getSelection().selectAllChildren(element)")
    page.evaluate("id => place(`<div class='answer' id='${id}'>What came meanwhile</div>`)", answer.get_attribute("id"))
    assert "Paragraph 3 of turn 1." in answer.inner_text()
    page.evaluate("document.getSelection().removeAllRanges()")
    page.get_by_text("What came meanwhile").wait_for()


def test_refused_stream_is_opened_again(page: Any, library: str) -> None:
    def refuse(route: Any) -> None:
        route.fulfill(status=503)

    page.clock.install()
    page.route("**/documents/events*", refuse)
    with page.expect_response("**/documents/events*"):
        page.goto("/documents")
    holds(page, "worry")
    page.clock.run_for(7_000)
    page.locator("#lost").wait_for()
    page.unroute("**/documents/events*", refuse)
    with page.expect_response("**/documents/events*") as opened:
        page.clock.run_for(60_000)
    assert opened.value.ok
    page.locator("#lost").wait_for(state="hidden")
