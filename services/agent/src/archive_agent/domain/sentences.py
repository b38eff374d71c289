"""Sentences of a text by their positions."""

import re
from dataclasses import dataclass

_STOP = re.compile(r"(?:[.!?…]+|[。！？])[\"'”’)\]]*|\n[^\S\n]*\n\s*")
_ABBREVIATION_TEXT = """
al approx apr aug ca cf co corp dec dept dr e.g ed eds est et feb fig figs gen gov i.e inc jan jr jul jun lt ltd mar mr
mrs ms mt no nos nov oct p pp prof rev sec sen sep sept sr st v vol vs
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_TEXT.split())
_LAST_WORD = re.compile(r"[^\s(\[\"“]+\Z")
_SPACES = re.compile(r"\s+")
_LIST_NUMBER = re.compile(r"\W*(?:\d{1,3}|[A-Za-z])\Z")


@dataclass(frozen=True)
class Span:
    """Characters start to end (exclusive) of a text."""

    start: int
    end: int


def split_sentences(text: str) -> list[Span]:
    """Spans of the sentences of a text, in order, without the white space around them.

    A single line break does not end a sentence, since text from a PDF breaks lines anywhere; an empty line does.
    """
    spans: list[Span] = []
    start = 0
    for stop in _STOP.finditer(text):
        if stop.group().startswith("\n") or ends_sentence(text, start, stop):
            _append(spans, text, start, stop.end())
            start = stop.end()
    _append(spans, text, start, len(text))
    return spans


def ends_sentence(text: str, start: int, stop: re.Match[str]) -> bool:
    """Whether punctuation ends the sentence that began at `start`, rather than an abbreviation or a list number."""
    after = text[stop.end() : stop.end() + 1]
    if stop.group()[0] in "。！？":
        return True
    if after and not after.isspace():
        return False
    spaces = _SPACES.match(text, stop.end())
    following = text[spaces.end() : spaces.end() + 1] if spaces else ""
    return not following.islower() and not is_abbreviated(text[start : stop.start()], stop.group())


def is_abbreviated(before: str, stop: str) -> bool:
    """Whether a full stop belongs to the word or list number before it."""
    if not stop.startswith(".") or stop.startswith(".."):
        return False
    if _LIST_NUMBER.match(before.lstrip()):
        return True
    word = _LAST_WORD.search(before[-20:])
    if word is None:
        return False
    last = word.group()
    return last.lower() in _ABBREVIATIONS or (len(last) == 1 and last.isupper())


def _append(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    if left < right:
        spans.append(Span(start + left, start + right))
