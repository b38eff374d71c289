"""Finding a cited sentence in a text that was laid out differently, and splitting a text around it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from archive_contracts.documents import Chunk

Span = tuple[int, int]

_WORD = re.compile(r"\w+", re.UNICODE)
SHORTEST = 3
"""Words that a part of a sentence must have to be marked for the whole."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text; ``marked`` is what the reader came for."""

    text: str
    marked: bool = False
    heading: bool = False


@dataclass(frozen=True, slots=True)
class Passages:
    """The text of passages, and where in it headings stand, as (start, end) in their order."""

    text: str
    headings: tuple[Span, ...] = ()


def find(text: str, sentence: str) -> tuple[int, int] | None:
    """Return where a sentence stands in a text, as (start, end) offsets; None when it does not.

    Words are compared without case, and nothing else: line breaks, hyphens and spaces differ between the text of a page
    and the text that was extracted from it. When the whole is not found, its longest run of words from the beginning
    stands for it.
    """
    wanted = [word.group().casefold() for word in _WORD.finditer(sentence)]
    spans = [(word.group().casefold(), word.start(), word.end()) for word in _WORD.finditer(text)]
    if not wanted or not spans:
        return None
    best = (0, 0)
    for start in (index for index, (word, _, _) in enumerate(spans) if word == wanted[0]):
        length = _common(spans[start : start + len(wanted)], wanted)
        if length > best[1]:
            best = (start, length)
        if length == len(wanted):
            break
    start, length = best
    if length < min(len(wanted), SHORTEST):
        return None
    end = spans[start + length - 1][2]
    closing = re.match(r"[.!?…\"'”’)\]]*", text[end:])
    return spans[start][1], end + (closing.end() if closing and length == len(wanted) else 0)


def _common(spans: Sequence[tuple[str, int, int]], wanted: Sequence[str]) -> int:
    length = 0
    for (word, _, _), other in zip(spans, wanted, strict=False):
        if word != other:
            break
        length += 1
    return length


def split(text: str, sentence: str, headings: Sequence[Span] = ()) -> list[Piece]:
    """Return a text in pieces: headings and the sentence are ones of their own, a heading in the sentence is not."""
    found = find(text, sentence) if sentence else None
    start, end = found or (len(text), len(text))
    kinds = [(start, end, True), *((left, right, False) for left, right in headings if right <= start or left >= end)]
    pieces: list[Piece] = []
    reached = 0
    for left, right, marked in sorted(kinds):
        if left >= reached:
            pieces += [Piece(text[reached:left]), Piece(text[left:right], marked=marked, heading=not marked)]
            reached = right
    pieces.append(Piece(text[reached:]))
    return [piece for piece in pieces if piece.text]


def on_page(chunks: Sequence[Chunk], page: int) -> list[Chunk]:
    """Return what of passages stands on a page: a passage may begin before it, and go on behind it."""
    kept: list[Chunk] = []
    for chunk in chunks:
        ends = [*(offset for offset, _ in chunk.marks[1:]), len(chunk.text)]
        kept += [
            _cut(chunk, offset, end) for (offset, number), end in zip(chunk.marks, ends, strict=False) if number == page
        ]
        kept += [chunk] if not chunk.marks else []
    return kept


def _cut(chunk: Chunk, start: int, end: int) -> Chunk:
    headings = tuple(
        (max(left, start) - start, min(right, end) - start)
        for left, right in chunk.headings
        if left < end and right > start
    )
    update = {"text": chunk.text[start:end], "headings": headings, "marks": ()}
    return chunk.model_copy(
        update=update | {"char_start": chunk.char_start + start, "char_end": chunk.char_start + end}
    )


def joined(chunks: Sequence[Chunk]) -> Passages:
    """Return the text that overlapping passages come from, each part of it once.

    Spans are offsets in the text of the whole document; passages are in their order.
    """
    text, headings = "", list[Span]()
    reached = -1
    for chunk in chunks:
        apart = reached >= 0 and chunk.char_start >= reached
        known = max(0, reached - chunk.char_start)
        if known < len(chunk.text):
            text += "\n\n" if apart else ""
            moved = len(text) - known
            headings += [(max(left, known) + moved, right + moved) for left, right in chunk.headings if right > known]
            text += chunk.text[known:]
        reached = max(reached, chunk.char_end)
    return Passages(text, tuple(headings))
