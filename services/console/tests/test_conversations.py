"""Titles, what a model gets to see, and exports."""

import json

from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.conversations import (
    CONTEXT_CHARS,
    TITLE_CHARS,
    Conversation,
    Turn,
    as_json,
    as_markdown,
    context,
    title_of,
)
from archive_contracts.agents import Source, Step
from archive_contracts.base import Problem

SOURCE = Source(number=2, type="library", text="t", sentence="It is\n47 metres.", page=4, filename="a.pdf", cited=True)
MEMORY = Source(number=1, type="memory", text="t", sentence="You said so.")


def turn(question: str = "Why?", **more: object) -> Turn:
    return Turn(**{"id": "t", "mode": "chat", "question": question, "asked_at": 0.0} | more)  # type: ignore[arg-type]


def test_title_is_first_line() -> None:
    assert title_of("\n  How  tall\tis it? \nPlease say.") == "How tall is it?"
    assert title_of(" \n ") == "Conversation"


def test_long_title_ends_at_word() -> None:
    assert title_of("word " * 40) == "word " * 11 + "word…"
    assert title_of("x" * 100) == "x" * TITLE_CHARS + "…"


@given(st.text(max_size=300))
def test_title_is_one_short_line(question: str) -> None:
    title = title_of(question)
    assert 0 < len(title) <= TITLE_CHARS + 1
    assert len(title.splitlines()) == 1


def test_context_holds_newest_turns() -> None:
    old, new = turn("old", answer="x" * CONTEXT_CHARS), turn("new", answer="yes")
    failed = turn("failed")
    assert context([old, new, failed], "now") == [
        {"role": "user", "content": "new"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "now"},
    ]


@given(st.lists(st.tuples(st.text(max_size=2000), st.text(max_size=2000)), max_size=8), st.text(max_size=3000))
def test_context_stays_in_window(pairs: list[tuple[str, str]], question: str) -> None:
    found = context([turn(asked, answer=answer) for asked, answer in pairs], question)
    assert found[-1] == {"role": "user", "content": question}
    assert sum(len(message["content"]) for message in found) <= max(CONTEXT_CHARS, len(question))
    assert [message["role"] for message in found[:-1]] == ["user", "assistant"] * ((len(found) - 1) // 2)


def test_sources_are_told_apart() -> None:
    whole = turn(sources=(MEMORY, SOURCE))
    assert (whole.cited, whole.uncited) == ((SOURCE,), (MEMORY,))


def exported() -> Conversation:
    turns = (
        turn("How tall?\nIn metres.", answer=" 47. ", engine="bundled", sources=(SOURCE, MEMORY), status="done"),
        turn("And?", status="failed", error=Problem(code="c", message="No engine.", next_step="n")),
        turn("So?", status="stopped", steps=(Step(step_number=1, thought="hm"),)),
    )
    return Conversation(id="c", title="Heights", created_at=0.0, updated_at=1.0, turns=turns)


def test_markdown_export_reads_well() -> None:
    assert as_markdown(exported()) == (
        "# Heights\n\n## How tall?\n\nHow tall?\nIn metres.\n\n*1970-01-01 00:00 UTC · bundled*\n\n47.\n\n"
        "- [2] a.pdf, page 4: It is 47 metres.\n- [1] memory: You said so.\n\n"
        "## And?\n\n*1970-01-01 00:00 UTC*\n\n(No engine.)\n\n## So?\n\n*1970-01-01 00:00 UTC*\n\n(stopped)\n"
    )


def test_json_export_is_whole() -> None:
    found = json.loads(as_json(exported()))
    assert (found["title"], len(found["turns"])) == ("Heights", 3)
    first, second, third = found["turns"]
    assert first["sources"][0]["page"] == 4
    assert second["error"]["message"] == "No engine."
    assert third["steps"][0]["thought"] == "hm"
