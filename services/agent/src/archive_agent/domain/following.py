"""Questions that refer back: what they are about stands in the turns before them.

"And the second one?" finds nothing by itself. Such a question is looked for together with what it follows; the model
gets the turns before it, without which it could not tell what is asked either.
"""

import re
from collections.abc import Sequence, Set

from archive_agent.domain.citations import without_markers
from archive_agent.domain.fitting import CountTokens, Message, message_tokens, shorten
from archive_agent.domain.quoting import without_control_tokens
from archive_agent.domain.words import content_units
from archive_contracts.agents import EarlierTurn

FARTHEST = 3
"""Turns that a question is traced back through while each of them refers back itself."""
ANSWER_CHARS = 300
"""Of an earlier answer, what a search is given: more would hide the question."""
QUESTION_TOKENS = 80
ANSWER_TOKENS = 160
"""Of an earlier question and answer, what the model is shown."""
FEW = 1
"""Content words; a question of so few ("Why?", "Which colour?") is about something said before."""

_OPENING = re.compile(r"\W*(?:and|but|or|so|also|then|what about|how about|what else|why not)\b", re.IGNORECASE)
_BACKWARDS = frozenset(
    "it its itself he him his she her hers they them their theirs these those this one ones former latter"
    " same other others".split()
)
# As a pronoun it ends the question or comes before a verb; as a conjunction it says nothing.
_THAT = re.compile(r"\bthat\b(?=\s*(?:\W*$|is\b|was\b|were\b|are\b|mean|one\b|happen|work|cost))", re.IGNORECASE)
_POINTERS = frozenset({"the", "that", "this"})
# Few words that make a sentence ("What is photosynthesis?") ask about the one thing they name. With a pointer it is one
# that was named before ("What is the price?").
_VERBS = frozenset(
    "is are was were be been do does did has have had can could will would should may might describe explain find give"
    " know list mention name show tell".split()
)
_WORD = re.compile(r"[^\W\d_]+")


def refers_back(question: str) -> bool:
    """Whether a question (in English) needs what was said before it; rather once too often than not."""
    words = {word.lower() for word in _WORD.findall(question)}
    if _says_little(question, words) or words & _BACKWARDS:
        return True
    return bool(_OPENING.match(question) or _THAT.search(question))


def _says_little(question: str, words: Set[str]) -> bool:
    named = len(set(content_units(question)))
    return not named or (named <= FEW and bool(words & _POINTERS or not words & _VERBS))


def subject(question: str, turns: Sequence[EarlierTurn]) -> str:
    """Return a question with the questions that it goes on from; alone where it refers to nothing."""
    if not turns or not refers_back(question):
        return question
    asked: list[str] = []
    for turn in reversed(turns[-FARTHEST:]):
        asked.append(turn.question)
        if not refers_back(turn.question):
            break
    return "\n".join([*reversed(asked), question])


def searches(question: str, turns: Sequence[EarlierTurn]) -> list[str]:
    """Return what to look for: the question, and where it refers back also what it follows from.

    The answer before it goes along: "the second one" is named there, not in the question.
    """
    whole = subject(question, turns)
    if whole == question:
        return [question]
    told = without_markers(turns[-1].answer)[:ANSWER_CHARS]
    return [f"{whole.removesuffix(question)}{told}\n{question}".strip(), question]


def earlier(question: str, turns: Sequence[EarlierTurn], *, room: int, count_tokens: CountTokens) -> list[Message]:
    """Return the turns that a question refers back to as messages of at most ``room`` tokens; none where it does not.

    To a small model turns on something else are a distraction.
    """
    return exchanges(turns, room=room, count_tokens=count_tokens) if refers_back(question) else []


def exchanges(turns: Sequence[EarlierTurn], *, room: int, count_tokens: CountTokens) -> list[Message]:
    """Return turns as messages of at most ``room`` tokens: as many of the latest as fit, each cut to what matters."""
    kept: list[Message] = []
    for turn in reversed(turns[-FARTHEST:]):
        asked = shorten(without_control_tokens(turn.question), QUESTION_TOKENS, count_tokens)
        said = shorten(without_control_tokens(without_markers(turn.answer)), ANSWER_TOKENS, count_tokens)
        exchange = [Message("user", asked), Message("assistant", said)] if asked and said else []
        if message_tokens([*exchange, *kept], count_tokens) > room:
            break
        kept[:0] = exchange
    return kept
