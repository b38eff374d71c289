"""Dead letters: what was given up and why, and what becomes of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.responses import Response

from archive_bus import DeadLetter
from archive_console.domain.errors import BadForm
from archive_console.domain.readable import readable
from archive_console.routes.acting import note, reason_of
from archive_console.routes.confirming import agreed, confirmation
from archive_console.routes.visit import Visit, text

LETTERS = 1000
"""The newest dead letters, which a search looks through and which are replayed or dropped at once."""
LETTERS_SHOWN = 200
AT_ONCE = 100
"""Dead letters that are settled between two notes."""

Settle = Callable[[Sequence[DeadLetter]], Awaitable[Sequence[DeadLetter]]]
"""Replays or drops letters; returns those that were still there."""


async def board(visit: Visit) -> dict[str, Any]:
    """Return the dead letters that match, the newest first. Raises BusError."""
    stream, group, words = visit.word("stream"), visit.word("group"), visit.sought
    letters = await visit.desk.operator.dead_letters(stream=stream, group=group, limit=LETTERS)
    found = [letter for letter in letters if words.casefold() in _searched(letter)]
    return {
        "letters": found,
        "shown": LETTERS_SHOWN,
        "most": LETTERS if len(letters) == LETTERS else 0,
        "filtered": bool(stream or group or words),
        "stream": stream,
        "group": group,
        "words": words,
    }


def _searched(letter: DeadLetter) -> str:
    return f"{letter.code}\n{letter.cause}\n{letter.type}\n{letter.key}\n{letter.group}".casefold()


async def show_letter(visit: Visit) -> Response:
    """Show a dead letter: its cause and the fields as they came."""
    letter = await _letter(visit)
    return visit.page("system/letter.html", part="dead", letter=letter, fields=readable(letter.fields))


async def replay(visit: Visit) -> Response:
    """Give one dead letter, or all that match, another try."""
    return await _settle(visit, "replayed dead letters", visit.desk.operator.replay_all, word="Replay")


async def drop(visit: Visit) -> Response:
    """Give dead letters up for good; the reason is kept."""
    return await _settle(visit, "dropped dead letters", visit.desk.operator.drop_all, word="Drop")


async def _settle(visit: Visit, what: str, settle: Settle, *, word: str) -> Response:
    """Settle the chosen letters, the oldest first, and note those that were still there.

    A few at once: when the bus goes away in the middle, what was done before is noted.
    """
    form = await visit.form()
    reason = reason_of(form)
    letters = list(reversed(await _chosen(visit, form)))
    if not text(form, "letter") and not agreed(form):
        question = f"{word} {len(letters)} dead {'letters' if letters[1:] else 'letter'}?"
        return confirmation(visit, form, question, word=word, back=_remaining(visit))
    settled = 0
    for start in range(0, len(letters), AT_ONCE):
        done = await settle(letters[start : start + AT_ONCE])
        if done:
            await note(visit, what, [letter.name for letter in done], reason=reason)
        settled += len(done)
    if not settled:
        raise _none_left()
    return visit.to(_remaining(visit, settled={what.partition(" ")[0]: str(settled)}))


def _none_left() -> BadForm:
    return BadForm("None of these dead letters is left.", next_step="Look at the list again.")


def outcome(visit: Visit) -> str:
    """Say what was just done to letters, where the address tells; otherwise nothing."""
    for done in ("replayed", "dropped"):
        if number := visit.number(done, 0):
            return f"{number} dead {'letters were' if number > 1 else 'letter was'} {done}."
    return ""


def _remaining(visit: Visit, *, settled: Mapping[str, str] | None = None) -> str:
    """Return the address of the list, filtered as it was; it tells how many were ``settled``, and how."""
    query = urlencode([*visit.request.query_params.multi_items(), *(settled or {}).items()])
    return f"/system/dead?{query}" if query else "/system/dead"


async def _chosen(visit: Visit, form: FormData) -> Sequence[DeadLetter]:
    """Return the one that is named, or those that match and had come when the list was shown.

    Nobody replays or drops what he has not seen. Raises BadForm when there is none, or BusError.
    """
    if letter_id := text(form, "letter"):
        return [await visit.desk.operator.dead_letter(letter_id)]
    try:
        until = float(text(form, "until") or "inf")
    except ValueError:
        raise BadForm("The form does not say which were shown.", next_step="Load the page again.") from None
    letters = [letter for letter in (await board(visit))["letters"] if letter.at <= until]
    if not letters:
        raise _none_left()
    return letters


async def _letter(visit: Visit) -> DeadLetter:
    return await visit.desk.operator.dead_letter(visit.request.path_params["letter"])
