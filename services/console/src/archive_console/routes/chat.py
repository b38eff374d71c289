"""The chat: conversations, questions, answers as they come."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.datastructures import FormData
from starlette.responses import Response

from archive_bus import NoSuchLog
from archive_console.domain.answers import Answer
from archive_console.domain.conversations import Conversation, Turn, as_json, as_markdown
from archive_console.domain.engines import PROFILES, only_bundled, preferred_model
from archive_console.domain.errors import BadForm, NotThere
from archive_console.routes.asking import choices, library, picked_before, picked_now
from archive_console.routes.confirming import agreed, confirmation
from archive_console.routes.events import event, streamed
from archive_console.routes.visit import SOUGHT, Visit, text
from archive_contracts.conversations import DeleteConversation, Mode, RenameConversation
from archive_contracts.memory import ForgetSession, SessionForgotten
from archive_contracts.streams import MEMORY_COMMANDS

TICK_S = 0.12
"""How often a growing answer is drawn anew: faster than the eye asks for, slower than tokens come."""
SETTLE_S = 5.0
LISTED = 50
"""Conversations in the list at once."""
MODES: dict[str, Mode] = {"documents": "documents", "chat": "chat", "agent": "agent"}


async def new_chat(visit: Visit) -> Response:
    """Show an empty conversation."""
    if visit.list_only:
        return await _list(visit)
    return await _show(visit, None)


async def show_chat(visit: Visit) -> Response:
    """Show a conversation."""
    if visit.list_only:
        return await _list(visit)
    return await _show(visit, await _found(visit))


async def _list(visit: Visit) -> Response:
    """Show another page of the conversations, beside the one that is open."""
    return visit.page("headings.html", **await _headings(visit))


async def _headings(visit: Visit) -> dict[str, Any]:
    words, offset = visit.sought, visit.number("from", 0)
    found = await visit.desk.conversations.headings(visit.tenant, words=words, limit=LISTED + 1, offset=offset)
    return {
        "headings": found[:LISTED],
        "current": visit.request.path_params.get("conversation", ""),
        "newer": max(0, offset - LISTED) if offset else None,
        "older": offset + LISTED if len(found) > LISTED else None,
        "words": words,
    }


async def _show(visit: Visit, conversation: Conversation | None) -> Response:
    turns = conversation.turns if conversation else ()
    editing = next((turn for turn in turns if turn.id == visit.word("edit")), None)
    like = editing or (turns[-1] if turns else None)
    shelf = visit.desk.shelves.seen(visit.tenant)
    picked = visit.request.query_params.getlist("document") or (like.document_ids if like else ())
    return visit.page(
        "chat.html",
        **await _headings(visit),
        conversation=conversation,
        turns=turns,
        editing=editing,
        models=visit.desk.engines.models(),
        profiles=PROFILES,
        model=like.model if like else preferred_model(visit.desk.engines.workers()),
        only_bundled=only_bundled(visit.desk.engines.workers()),
        asked=visit.word("ask")[:2000],
        shelf=shelf,
        sought="",
        choices=choices(shelf or {}, picked=picked_before(visit, picked)),
        mode=_chosen(visit) or (like.mode if like else ""),
    )


def _chosen(visit: Visit) -> str:
    """Return the mode that the address names; empty where nobody chose one, and what fits the library is offered."""
    named = visit.word("mode")
    return named if named in MODES else ""


async def choose(visit: Visit) -> Response:
    """Show the documents of a name, beside those that are picked already."""
    return await _choices(visit, "choices.html", words=visit.word("find").strip()[:SOUGHT])


async def look(visit: Visit) -> Response:
    """Show what the library holds now, and how a question is answered unless the person has chosen.

    A page is sent with what the library held when somebody last looked.
    """
    return await _choices(visit, "shelf_now.html")


async def _choices(visit: Visit, template: str, *, words: str = "") -> Response:
    found = await library(visit, words=words)
    picked = await picked_now(visit, visit.request.query_params.getlist("document"), found)
    offered = choices(found, picked=picked)
    return visit.page(template, shelf=found, choices=offered, sought=words, mode=_chosen(visit))


async def ask(visit: Visit) -> Response:
    """Take a question in, and show the conversation with the answer on its way."""
    form = await visit.form()
    turn = _turn(form)
    wanted = visit.request.path_params.get("conversation", "")
    conversation = await _found(visit) if wanted else None
    name = conversation.id if conversation else secrets.token_hex(12)
    turns = conversation.turns if conversation else ()
    supersedes = text(form, "supersedes")
    before = [known for known in turns if not _from(turns, supersedes, known)]
    await visit.desk.answers.ask(visit.tenant, name, turn, before=before, supersedes=supersedes)
    if visit.partial and conversation and not supersedes:
        return visit.page("turn.html", turn=turn, conversation=conversation)
    return visit.to(f"/chat/{name}#turn-{turn.id}")


def _from(turns: tuple[Turn, ...], first: str, turn: Turn) -> bool:
    """Whether a turn is the one that is asked anew, or comes after it."""
    ids = [known.id for known in turns]
    return first in ids and ids.index(turn.id) >= ids.index(first)


def _turn(form: FormData) -> Turn:
    question = text(form, "text", most=32_000)
    if not question:
        raise BadForm("There is no question.", next_step="Write one.")
    mode = MODES.get(text(form, "mode") or "chat")
    if mode is None:
        raise BadForm("This mode is unknown.", next_step="Choose one of the page.")
    chosen = [str(value) for value in form.getlist("document")]
    return Turn(
        id=secrets.token_hex(16),
        mode=mode,
        question=question,
        asked_at=time.time(),
        model=text(form, "model", most=200),
        document_ids=tuple(value for value in chosen if value)[:1000],
        remember=bool(text(form, "remember")),
    )


async def retry(visit: Visit) -> Response:
    """Ask a question again in place of its answer."""
    await visit.form()
    name, old = await _found_turn(visit)
    conversation = await visit.desk.conversations.get(visit.tenant, name)
    turns = conversation.turns if conversation else ()
    turn = Turn(
        id=secrets.token_hex(16),
        mode=old.mode,
        question=old.question,
        asked_at=time.time(),
        model=old.model,
        document_ids=old.document_ids,
        remember=old.remember,
    )
    before = [known for known in turns if not _from(turns, old.id, known)]
    await visit.desk.answers.ask(visit.tenant, name, turn, before=before, supersedes=old.id)
    return visit.to(f"/chat/{name}#turn-{turn.id}")


async def stop(visit: Visit) -> Response:
    """Stop an answer; what had come of it is kept."""
    await visit.form()
    name, turn = await _found_turn(visit)
    if turn.status == "running":
        await visit.desk.answers.stop(visit.tenant, turn.id)
    if visit.partial:
        return Response(status_code=204)
    return visit.to(f"/chat/{name}#turn-{turn.id}")


async def follow(visit: Visit) -> Response:
    """Send an answer as it grows, from its beginning: a page that was loaded again misses nothing."""
    try:
        name, turn = await _found_turn(visit)
    except NotThere:
        if not visit.partial:
            raise
        # The script asks why its stream was refused, and puts the reason where the answer stood.
        return visit.page("turn_gone.html", 404, turn={"id": visit.request.path_params["turn"]}, conversation=None)
    return streamed(_grown(visit, name, turn))


async def _grown(visit: Visit, name: str, turn: Turn) -> AsyncIterator[str]:
    drawn = 0.0
    answer = Answer()
    if turn.status == "running":
        try:
            async for answer in visit.desk.answers.watch(visit.tenant, turn):
                if answer.ended or visit.desk.draining.is_set() or not visit.welcome:
                    break
                if time.monotonic() - drawn >= TICK_S:
                    drawn = time.monotonic()
                    yield event("answer", visit.html("answer.html", turn=_seen(turn, answer)))
        except NoSuchLog:
            # It ended long ago, or its log went with the state server: what was recorded is all there is.
            pass
    if visit.welcome and (answer.ended or turn.status != "running"):
        recorded = await _recorded(visit, turn)
        template = "turn.html" if recorded else "turn_gone.html"
        yield event("done", visit.html(template, turn=recorded or turn, conversation={"id": name}))


async def _recorded(visit: Visit, turn: Turn) -> Turn | None:
    """Return a turn as it was recorded, which follows the end of its answer by a moment.

    None: it was deleted, or asked anew, by another page.
    """
    with anyio.move_on_after(SETTLE_S):
        while turn.status == "running":
            found = await visit.desk.conversations.turn(visit.tenant, turn.id)
            if found is None:
                return None
            turn = found[1]
            if turn.status == "running":
                await anyio.sleep(0.05)
    return turn


def _seen(turn: Turn, answer: Answer) -> Turn:
    return Turn(
        id=turn.id,
        mode=turn.mode,
        question=turn.question,
        asked_at=turn.asked_at,
        status=answer.status,
        answer=answer.text,
        engine=answer.engine,
        sources=answer.sources,
        steps=answer.steps,
        error=answer.error,
    )


async def rename(visit: Visit) -> Response:
    """Give a conversation another title."""
    form = await visit.form()
    conversation = await _found(visit)
    title = " ".join(text(form, "title", most=200).split())
    if not title:
        raise BadForm("There is no title.", next_step="Write one.")
    await visit.desk.answers.save(visit.tenant, RenameConversation(conversation_id=conversation.id, title=title))
    return visit.to(f"/chat/{conversation.id}")


async def delete(visit: Visit) -> Response:
    """Remove a conversation, and what memory kept of it."""
    form = await visit.form()
    conversation = await _found(visit)
    if not agreed(form):
        question = f"Delete the conversation “{conversation.title}” for good?"
        return confirmation(visit, form, question, word="Delete", back=f"/chat/{conversation.id}")
    for turn in conversation.turns:
        if turn.status == "running":
            await visit.desk.answers.stop(visit.tenant, turn.id)
    if any(turn.remember for turn in conversation.turns):
        forget = ForgetSession(session=conversation.id)
        await visit.desk.bus.request(forget, SessionForgotten, to=MEMORY_COMMANDS, origin=visit.origin, timeout=5.0)
    await visit.desk.answers.save(visit.tenant, DeleteConversation(conversation_id=conversation.id))
    return visit.to("/")


async def export_markdown(visit: Visit) -> Response:
    """Send a conversation as a file for people."""
    conversation = await _found(visit)
    return _file(as_markdown(conversation), f"conversation-{conversation.id}.md", kind="text/markdown")


async def export_json(visit: Visit) -> Response:
    """Send a conversation as a file for programs."""
    conversation = await _found(visit)
    return _file(as_json(conversation), f"conversation-{conversation.id}.json", kind="application/json")


def _file(content: str, name: str, *, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


async def _found(visit: Visit) -> Conversation:
    wanted = visit.request.path_params["conversation"]
    conversation = await visit.desk.conversations.get(visit.tenant, wanted)
    if conversation is None:
        raise NotThere("There is no such conversation.", next_step="It may have been deleted; start a new one.")
    return conversation


async def _found_turn(visit: Visit) -> tuple[str, Turn]:
    found = await visit.desk.conversations.turn(visit.tenant, visit.request.path_params["turn"])
    if found is None:
        raise NotThere("There is no such answer.", next_step="Load the page again.")
    return found
