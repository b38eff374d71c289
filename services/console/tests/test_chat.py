"""Questions and answers over the bus, with a router in the router's place."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from archive_bus import Delivery
from archive_console.adapters.store import ConversationStore
from archive_contracts.agents import (
    AgentCompleted,
    AnswerDelta,
    ResearchCompleted,
    RunAgent,
    RunResearch,
    Source,
    SourceFound,
    Step,
)
from archive_contracts.base import Problem
from archive_contracts.chat import ChatCompleted, ChatDelta, ChatRequested
from archive_contracts.conversations import RecordAnswer, RecordQuestion
from archive_contracts.memory import ForgetSession, SessionForgotten
from archive_contracts.streams import AGENT_COMMANDS, CHAT_REQUESTS, MEMORY_COMMANDS
from archive_testkit.waiting import eventually

SOURCE = Source(number=1, type="library", text="t", sentence="It is 47 m.", document_id="d", chunk_id="c", page=2)


def delta(text: str) -> ChatDelta:
    return ChatDelta(body=json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}), engine="bundled")


def done(text: str, ended: str = "stop") -> ChatCompleted:
    return ChatCompleted(engine="bundled", pool="small", model="m", text=text, finish_reason=ended)


class Router:
    """Answers chats word by word; ``hold`` stops it behind the first word."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ChatRequested]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.text = "Hello **world**"
        self.ended = "stop"

    async def answer(self, delivery: Delivery[ChatRequested]) -> None:
        self.seen.append((delivery.envelope.tenant, delivery.message))
        first, _, rest = self.text.partition(" ")
        _ = delivery.emit(delta(first))
        await self.hold.wait()
        _ = delivery.emit(delta(f" {rest}"))
        await delivery.reply(done(self.text, self.ended))


@pytest.fixture
async def router(peer: Any) -> AsyncIterator[Router]:
    found = Router()
    async with peer("router", CHAT_REQUESTS, {ChatRequested: found.answer}):
        yield found


@asynccontextmanager
async def asked(console: Any, text: str = "Hi there", **fields: Any) -> AsyncGenerator[tuple[str, str], None]:
    """Ask, and return the address of the conversation and the id of the turn."""
    reply = await console.post("/chat", text=text, mode="chat", **fields)
    assert reply.status_code == 303, reply.text
    path, _, turn = reply.headers["location"].partition("#turn-")
    yield path, turn


async def streamed(console: Any, turn: str) -> str:
    """Return the whole stream of an answer."""
    return str(await console.page(f"/turns/{turn}/events"))


async def test_answer_streams_and_stays(console: Any, router: Router) -> None:
    async with asked(console) as (path, turn):
        told = await streamed(console, turn)
    assert "event: done" in told
    assert "<strong>world</strong>" in told
    page = (await console.http.get(path)).text
    assert "Hello <strong>world</strong>" in page
    assert "Hi there" in page
    assert 'data-stream="/turns/' not in page
    again = await streamed(console, turn)
    assert "<strong>world</strong>" in again


async def test_answer_that_was_cut_says_so_and_alarms_nobody(console: Any, router: Router) -> None:
    router.ended = "length"
    async with asked(console) as (path, turn):
        assert "The answer was cut" in await streamed(console, turn)
    page = (await console.http.get(path)).text
    assert "The answer was cut" in page
    assert 'class="problem"' not in page


async def test_every_reader_sees_the_beginning(console: Any, router: Router) -> None:
    router.hold.clear()
    async with asked(console) as (path, turn):
        assert f'data-stream="/turns/{turn}/events"' in (await console.http.get(path)).text
        for _ in range(2):
            async with console.http.stream("GET", f"/turns/{turn}/events") as reply:
                async for line in reply.aiter_lines():
                    if "Hello" in line:
                        break
        router.hold.set()
        assert "Hello <strong>world</strong>" in await streamed(console, turn)


async def test_lost_answer_says_so(start: Any, tmp_path: Path) -> None:
    async with ConversationStore(tmp_path / "console") as store:
        left = RecordQuestion(conversation_id="c", turn_id="t" * 32, mode="chat", text="Hi", asked_at=1.0)
        await store.apply("default", left)
    async with start() as console:

        async def told() -> bool:
            return "was interrupted" in await console.page("/chat/c")

        await eventually(told)
        assert "Ask again with &#39;Retry&#39;." in await console.page("/chat/c")


async def test_stopped_answer_keeps_its_part(console: Any, router: Router) -> None:
    router.hold.clear()
    async with asked(console) as (path, turn):
        async with console.http.stream("GET", f"/turns/{turn}/events") as reply:
            async for line in reply.aiter_lines():
                if "Hello" in line:
                    break
        assert (await console.post(f"/turns/{turn}/stop")).status_code == 303

        async def stopped() -> bool:
            return "Stopped." in (await console.http.get(path)).text

        await eventually(stopped)
    assert "Hello" in (await console.http.get(path)).text


async def test_follow_up_brings_its_context(console: Any, router: Router) -> None:
    async with asked(console, "First?") as (path, turn):
        await streamed(console, turn)
    headers = {"hx-request": "true"}
    fields = {"form": await console.token("/"), "text": "Second?", "mode": "chat"}
    part = await console.http.post(f"{path}/turns", data=fields, headers=headers)
    assert part.text.startswith('<article class="turn"')
    await streamed(console, part.text.partition('id="turn-')[2].partition('"')[0])
    said = json.loads(router.seen[-1][1].body)["messages"]
    assert [message["content"] for message in said] == ["First?", "Hello **world**", "Second?"]


async def test_retry_and_edit_replace_the_answer(console: Any, router: Router) -> None:
    async with asked(console, "First?") as (path, turn):
        await streamed(console, turn)
    router.text = "Another answer"
    retried = await console.post(f"/turns/{turn}/retry")
    second = retried.headers["location"].partition("#turn-")[2]
    await streamed(console, second)
    page = (await console.http.get(path)).text
    assert "Another answer" in page
    assert "Hello" not in page
    assert "First?" in await console.page(f"{path}?edit={second}")
    edited = await console.post(f"{path}/turns", text="Edited?", mode="chat", supersedes=second)
    await streamed(console, edited.headers["location"].partition("#turn-")[2])
    page = (await console.http.get(path)).text
    assert page.count('<article class="turn"') == 1
    assert len(json.loads(router.seen[-1][1].body)["messages"]) == 1


async def test_documents_are_cited_and_limited(console: Any, peer: Any) -> None:
    seen: list[RunResearch] = []

    async def research(delivery: Delivery[RunResearch]) -> None:
        seen.append(delivery.message)
        _ = delivery.emit(SourceFound(source=SOURCE))
        _ = delivery.emit(AnswerDelta(text="47 m [Source 1]"))
        cited = (SOURCE.model_copy(update={"cited": True}), SOURCE.model_copy(update={"number": 2, "page": 9}))
        run = delivery.message
        await delivery.reply(
            ResearchCompleted(run_id=run.run_id, question=run.question, answer="47 m [Source 1]", sources=cited)
        )

    async with peer("agent", AGENT_COMMANDS, {RunResearch: research}):
        reply = await console.post("/chat", text="How tall?", mode="documents", document=["d", "e"])
        path, _, turn = reply.headers["location"].partition("#turn-")
        await streamed(console, turn)
    page = (await console.http.get(path)).text
    assert f'<a class="cite" href="/documents/d/source/c?page=2&amp;turn={turn}"' in page
    assert "Also found, not cited (1)" in page
    assert (seen[0].run_id, seen[0].document_ids, seen[0].use_memory) == (turn, ("d", "e"), False)


async def test_follow_up_over_documents_brings_its_turns(console: Any, router: Router, peer: Any) -> None:
    seen: list[RunResearch] = []

    async def research(delivery: Delivery[RunResearch]) -> None:
        run = delivery.message
        seen.append(run)
        await delivery.reply(ResearchCompleted(run_id=run.run_id, question=run.question, answer="A", sources=()))

    async with asked(console, "First?") as (path, turn):
        await streamed(console, turn)
    async with peer("agent", AGENT_COMMANDS, {RunResearch: research}):
        reply = await console.post(f"{path}/turns", text="And the second?", mode="documents")
        await streamed(console, reply.headers["location"].partition("#turn-")[2])
    assert [(earlier.question, earlier.answer) for earlier in seen[0].turns] == [("First?", "Hello **world**")]


async def test_unsupported_answer_is_called_so(console: Any, peer: Any) -> None:
    async def research(delivery: Delivery[RunResearch]) -> None:
        run = delivery.message
        await delivery.reply(
            ResearchCompleted(run_id=run.run_id, question=run.question, answer="Bananas.", sources=(SOURCE,))
        )

    async with peer("agent", AGENT_COMMANDS, {RunResearch: research}):
        reply = await console.post("/chat", text="How tall?", mode="documents")
        path, _, turn = reply.headers["location"].partition("#turn-")
        await streamed(console, turn)
    assert "No source supports a sentence of this answer" in (await console.http.get(path)).text


async def test_agent_shows_its_steps(console: Any, peer: Any) -> None:
    async def work(delivery: Delivery[RunAgent]) -> None:
        steps = (Step(step_number=1, thought="I <b>look</b>", action="search", action_input="x", observation="47"),)
        await delivery.reply(AgentCompleted(run_id=delivery.message.run_id, answer="47 metres", steps=steps))

    async with peer("agent", AGENT_COMMANDS, {RunAgent: work}):
        reply = await console.post("/chat", text="How tall?", mode="agent")
        path, _, turn = reply.headers["location"].partition("#turn-")
        await streamed(console, turn)
    page = (await console.http.get(path)).text
    assert "1 step" in page
    assert "I &lt;b&gt;look&lt;/b&gt;" in page


async def test_failure_tells_what_to_do(console: Any, peer: Any) -> None:
    async def fail(delivery: Delivery[ChatRequested]) -> None:
        await delivery.fail(Problem(code="no_engine", message="No engine serves this.", next_step="Start <one>."))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: fail}), asked(console) as (path, turn):
        await streamed(console, turn)
    page = (await console.http.get(path)).text
    assert "No engine serves this." in page
    assert "Start &lt;one&gt;." in page


async def test_memory_keeps_what_it_may(console: Any, router: Router, peer: Any) -> None:
    forgotten: list[str] = []

    async def forget(delivery: Delivery[ForgetSession]) -> None:
        forgotten.append(delivery.message.session)
        await delivery.reply(SessionForgotten(session=delivery.message.session))

    async with asked(console, "Secret?") as (_, turn):
        await streamed(console, turn)
    async with asked(console, "Open?", remember="1") as (path, turn):
        await streamed(console, turn)
    assert [request.store for _, request in router.seen] == [False, True]
    async with peer("memory", MEMORY_COMMANDS, {ForgetSession: forget}):
        assert (await console.post(f"{path}/delete", sure="yes")).headers["location"] == "/"
    assert forgotten == [path.removeprefix("/chat/")]


async def test_deleted_conversation_leaves_nothing(console: Any, router: Router) -> None:
    async with asked(console, "quokkaberry?") as (path, turn):
        await streamed(console, turn)
    assert (await console.post(f"{path}/delete", sure="yes")).status_code == 303
    for gone in (path, f"/turns/{turn}/events", f"{path}/export.md"):
        assert (await console.http.get(gone)).status_code == 404
    found = await console.page("/?q=quokkaberry")
    assert "Nothing found." in found
    assert b"quokkaberry" not in console.bytes()


async def test_conversation_is_deleted_once_that_is_meant(console: Any, router: Router) -> None:
    async with asked(console, "A <b>heron</b>?") as (path, turn):
        await streamed(console, turn)
    page = (await console.post(f"{path}/delete")).text
    assert "Delete the conversation “A &lt;b&gt;heron&lt;/b&gt;?” for good?" in page
    assert 'name="sure" value="yes"' in page
    assert f'action="{path}/delete"' in page
    assert (await console.http.get(path)).status_code == 200


async def test_halves_of_characters_break_nothing(console: Any, peer: Any) -> None:
    async def answer(delivery: Delivery[ChatRequested]) -> None:
        for piece in ("Look \ud83d", "\ude00", " and \ude00 alone", "\ud83d"):
            _ = delivery.emit(delta(piece))
        # An engine that says no more of its words than it streamed.
        await delivery.reply(done(""))

    async with peer("router", CHAT_REQUESTS, {ChatRequested: answer}), asked(console) as (path, turn):
        told = await streamed(console, turn)
    page = (await console.http.get(path)).text
    for html in (told, page):
        assert "Look \N{GRINNING FACE} and \N{REPLACEMENT CHARACTER} alone" in html
    assert (await console.http.get(f"{path}/export.json")).status_code == 200


async def test_script_is_told_that_a_question_is_gone(console: Any) -> None:
    gone = await console.http.get("/turns/nothing/events", headers={"hx-request": "true"})
    assert gone.status_code == 404
    assert 'id="turn-nothing"' in gone.text
    assert "was deleted" in gone.text


async def test_profile_is_chosen_and_stays(console: Any, router: Router) -> None:
    async with asked(console, model="code-expert") as (path, turn):
        await streamed(console, turn)
    page = (await console.http.get(path)).text
    assert json.loads(router.seen[0][1].body)["model"] == "code-expert"
    assert '<option value="code-expert" selected>Code</option>' in page
    assert '<span class="faint">Code</span>' in page


async def test_answer_deleted_elsewhere_ends(console: Any, router: Router) -> None:
    router.hold.clear()
    async with asked(console) as (path, turn), console.http.stream("GET", f"/turns/{turn}/events") as reply:
        told = ""
        async for line in reply.aiter_lines():
            told += line
            if "Hello" in line:
                assert (await console.post(f"{path}/delete", sure="yes")).status_code == 303
    assert "was deleted, or asked anew, on another page" in told
    assert 'data-stream="' not in told


async def test_conversation_is_named_found_exported(console: Any, router: Router) -> None:
    async with asked(console, "How tall?") as (path, turn):
        await streamed(console, turn)
    await console.post(f"{path}/rename", title="  Heights of <towers> ")
    assert "Heights of &lt;towers&gt;" in await console.page("/?q=heights")
    assert (await console.post(f"{path}/rename", title=" ")).status_code == 400
    exported = await console.http.get(f"{path}/export.md")
    assert exported.text.startswith("# Heights of <towers>\n")
    assert "attachment" in exported.headers["content-disposition"]
    assert (await console.http.get(f"{path}/export.json")).json()["turns"][0]["answer"] == "Hello **world**"
    assert (await console.http.get(f"{path}/export.exe")).status_code == 404


async def test_endless_search_finds_nothing(console: Any) -> None:
    for path in ("/", "/system/jobs", "/system/dead"):
        assert (await console.http.get(f"{path}?q={'x%25' * 15_000}")).status_code == 200


async def test_hostile_question_does_nothing(console: Any, router: Router) -> None:
    router.text = "See <img src=x onerror=alert(1)> [x](javascript:alert(1))"
    async with asked(console, "</title><script>alert(1)</script>") as (path, turn):
        told = await streamed(console, turn)
    page = (await console.http.get(path)).text
    for html in (told, page):
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert 'href="javascript' not in html


@pytest.mark.parametrize(
    ("fields", "status"), [({"text": " "}, 400), ({"mode": "magic"}, 400), ({"text": "x" * 32_001}, 400)]
)
async def test_unusable_question_is_refused(console: Any, fields: dict[str, str], status: int) -> None:
    assert (await console.post("/chat", **({"text": "Hi", "mode": "chat"} | fields))).status_code == status


async def test_list_of_conversations_is_paged(start: Any, tmp_path: Path) -> None:
    async with ConversationStore(tmp_path / "console") as store:
        for number in range(61):
            asked_at, name = float(number), f"c{number:02}"
            change = RecordQuestion(
                conversation_id=name, turn_id=name, mode="chat", text=f"word {name}", asked_at=asked_at
            )
            await store.apply("default", change)
            await store.apply(
                "default", RecordAnswer(conversation_id=name, turn_id=name, status="done", ended_at=asked_at)
            )
    async with start() as console:
        first, second = [await console.page(f"/?q=word&from={start}") for start in (0, 50)]
    assert first.count('<li><a href="/chat/c') == 50
    assert second.count('<li><a href="/chat/c') == 11
    assert "from=50" in first
    assert "from=0" in second
    assert "from=100" not in second
