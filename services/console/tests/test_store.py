"""Conversations in their file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archive_console.adapters.store import ConversationStore
from archive_contracts.agents import Source, Step
from archive_contracts.base import Problem
from archive_contracts.conversations import DeleteConversation, RecordAnswer, RecordQuestion, RenameConversation

SECRET = "quokkaberry"


def question(turn: str, text: str = "How tall?", conversation: str = "c", **more: object) -> RecordQuestion:
    given = {"conversation_id": conversation, "turn_id": turn, "mode": "chat", "text": text, "asked_at": 1.0}
    return RecordQuestion.model_validate(given | more)


def answer(turn: str, text: str = "47 metres", conversation: str = "c", **more: object) -> RecordAnswer:
    given = {"conversation_id": conversation, "turn_id": turn, "status": "done", "text": text, "ended_at": 2.0}
    return RecordAnswer.model_validate(given | more)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ConversationStore]:
    async with ConversationStore(tmp_path) as opened:
        yield opened


async def test_turn_comes_back_whole(store: ConversationStore) -> None:
    asked = question("t", document_ids=("d1", "d2"), model="m", remember=True, mode="documents")
    source = Source(number=1, type="library", text="x", page=3, cited=True)
    step, problem = Step(step_number=1, thought="hm"), Problem(code="c", message="m", next_step="n")
    ended = answer("t", engine="e", sources=(source,), steps=(step,), error=problem, status="failed")
    assert await store.apply("a", asked)
    assert await store.apply("a", ended)
    conversation, turn = await store.turn("a", "t") or ("", None)
    assert conversation == "c"
    assert turn is not None
    assert (turn.document_ids, turn.model, turn.remember, turn.mode) == (("d1", "d2"), "m", True, "documents")
    assert (turn.sources, turn.steps, turn.error, turn.status) == ((source,), (step,), problem, "failed")
    assert (turn.answer, turn.engine, turn.asked_at, turn.ended_at) == ("47 metres", "e", 1.0, 2.0)


async def test_same_change_changes_nothing(store: ConversationStore) -> None:
    changes = (question("t"), answer("t"), RenameConversation(conversation_id="c", title="Heights"))
    for change in changes:
        assert await store.apply("a", change)
    before = await store.get("a", "c")
    for change in changes:
        assert await store.apply("a", change)
    assert await store.get("a", "c") == before
    assert before is not None
    assert (before.title, before.updated_at, len(before.turns)) == ("Heights", 2.0, 1)
    assert len(await store.headings("a", words="metres")) == 1


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_deleted_bytes_are_gone(store: ConversationStore, tmp_path: Path) -> None:
    for number in range(30):
        await store.apply("a", question(f"k{number}", f"kept words {number}", "kept"))
    for number in range(30):
        await store.apply("a", question(f"t{number}", f"{SECRET}ask{number} " * 50, "c"))
        await store.apply("a", answer(f"t{number}", f"{SECRET}answer{number} " * 200))
    assert SECRET.encode() in everything(tmp_path)
    assert await store.apply("a", DeleteConversation(conversation_id="c"))
    left = everything(tmp_path)
    assert SECRET.encode() not in left
    assert b"kept words 7" in left
    assert await store.headings("a", words="kept")


async def test_deleted_conversation_stays_away(store: ConversationStore) -> None:
    await store.apply("a", question("t"))
    assert await store.apply("a", DeleteConversation(conversation_id="c"))
    assert not await store.apply("a", DeleteConversation(conversation_id="c"))
    assert not await store.apply("a", answer("t"))
    assert not await store.apply("a", question("u"))
    assert not await store.apply("a", RenameConversation(conversation_id="c", title="x"))
    assert (await store.get("a", "c"), await store.turn("a", "t"), await store.running()) == (None, None, [])


async def test_asking_anew_drops_what_followed(store: ConversationStore) -> None:
    for turn in ("one", "two", "three"):
        await store.apply("a", question(turn, f"question {turn}"))
        await store.apply("a", answer(turn, f"answer {turn}"))
    await store.apply("a", question("new", "question anew", supersedes="two"))
    found = await store.get("a", "c")
    assert found is not None
    assert [turn.id for turn in found.turns] == ["one", "new"]
    assert await store.headings("a", words="three") == []
    assert not await store.apply("a", answer("three"))


async def test_title_follows_the_first_question_until_somebody_names_it(store: ConversationStore) -> None:
    async def title() -> str:
        conversation = await store.get("a", "c")
        return conversation.title if conversation else ""

    await store.apply("a", question("first", "How tall?"))
    await store.apply("a", question("second", "How old?"))
    await store.apply("a", question("other", "How wide?", supersedes="second"))
    assert await title() == "How tall?"
    await store.apply("a", question("again", "How heavy?", supersedes="first"))
    assert await title() == "How heavy?"
    await store.apply("a", RenameConversation(conversation_id="c", title="Measures"))
    await store.apply("a", question("last", "How deep?", supersedes="again"))
    assert await title() == "Measures"


async def test_superseding_stays_in_its_conversation(store: ConversationStore) -> None:
    await store.apply("a", question("one", conversation="other"))
    await store.apply("a", question("two", supersedes="one"))
    assert await store.turn("a", "one") is not None


async def test_tenants_see_only_their_own(store: ConversationStore) -> None:
    await store.apply("a", question("t", "alpha"))
    await store.apply("b", question("t", "beta"))
    mine = await store.get("a", "c")
    assert mine is not None
    assert [turn.question for turn in mine.turns] == ["alpha"]
    assert await store.headings("a", words="beta") == []
    assert [heading.title for heading in await store.headings("b")] == ["beta"]
    await store.apply("b", DeleteConversation(conversation_id="c"))
    assert await store.get("a", "c") is not None
    assert await store.turn("a", "t") is not None


async def test_search_finds_words_and_titles(store: ConversationStore) -> None:
    await store.apply("a", question("t", "Wie hoch ist der Turm?"))
    await store.apply("a", answer("t", "Der Léuchtturm ist 47 Meter hoch."))
    await store.apply("a", RenameConversation(conversation_id="c", title="Heights 100%"))
    await store.apply("a", question("u", "Something else", "d"))
    assert [heading.id for heading in await store.headings("a", words="leuchtturm hoch")] == ["c"]
    assert [heading.id for heading in await store.headings("a", words="HEIGHTS")] == ["c"]
    assert "Léuchtturm" in (await store.headings("a", words="leuchtturm"))[0].excerpt
    assert await store.headings("a", words="0%0") == []


@pytest.mark.parametrize(
    "words", ['"', "a OR", "*", "-", "question:x", "NEAR(", "\x00", "a\x00b", "x" * 5000, "' OR 1=1"]
)
async def test_any_words_can_be_searched(store: ConversationStore, words: str) -> None:
    await store.apply("a", question("t"))
    assert await store.headings("a", words=words) == []


async def test_list_is_paged_latest_first(store: ConversationStore) -> None:
    for number in range(7):
        await store.apply("a", question(f"t{number}", f"word {number}", f"c{number}", asked_at=float(number)))
    for words in ("", "word"):
        pages = [await store.headings("a", words=words, limit=3, offset=offset) for offset in (0, 3, 6, 9)]
        found = [[heading.id for heading in page] for page in pages]
        assert found == [["c6", "c5", "c4"], ["c3", "c2", "c1"], ["c0"], []]


async def test_unended_answers_are_known(store: ConversationStore) -> None:
    await store.apply("a", question("t"))
    await store.apply("b", question("u"))
    await store.apply("a", answer("t"))
    assert [(tenant, name, turn.id) for tenant, name, turn in await store.running()] == [("b", "c", "u")]


async def test_only_the_owner_reads_the_file(store: ConversationStore, tmp_path: Path) -> None:
    await store.apply("a", question("t"))
    assert (tmp_path / "conversations.db").stat().st_mode & 0o077 == 0


async def test_two_consoles_share_the_file(store: ConversationStore, tmp_path: Path) -> None:
    await store.apply("a", question("t"))
    async with ConversationStore(tmp_path) as other:
        await other.apply("a", answer("t"))
    found = await store.turn("a", "t")
    assert found is not None
    assert found[1].answer == "47 metres"
