"""Greedy packing of sentences into chunks that never exceed a token limit.

BPE counts do not add up when strings are joined, so every chunk's final text is encoded again before it
is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from archive_librarian.domain.flow import Flow
from archive_librarian.domain.sentences import sentence_spans

_LONGEST_COUNTED = 8  # characters a token, beyond which a sentence is cut before it is ever encoded
_CLOSERS = "\"'”’»›)]}」』）】》"
_SENTENCE_ENDS = tuple(".!?…:;。！？｡؟।")


class Tokenizer(Protocol):
    """Counts tokens as the embedding and chat models will."""

    @property
    def name(self) -> str: ...

    def count(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """Sizes in tokens; the overlap must leave room for new text."""

    max_tokens: int = 512
    overlap_tokens: int = 64

    def __post_init__(self) -> None:
        if self.max_tokens < 16 or not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ValueError("max_tokens must be at least 16 and overlap_tokens at most half of it")


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk: `text` is the document's text from `char_start` to `char_end`.

    Pages count from 1. `section` holds the headings above the chunk's first new sentence, outermost first.
    `marks` says on which page each part of `text` starts: (offset in `text`, page), the first at offset 0.
    `headings` are (start, end) of the headings in `text`.
    """

    index: int
    text: str
    tokens: int
    page_start: int
    page_end: int
    char_start: int
    char_end: int
    section: tuple[str, ...]
    marks: tuple[tuple[int, int], ...]
    headings: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Atom:
    """A sentence, or a part of one that is longer than a chunk."""

    start: int
    end: int
    tokens: int
    heading: bool


def chunk(document: Flow, tokenizer: Tokenizer, options: ChunkOptions) -> Iterator[Piece]:
    """Cut a document into pieces of at most `max_tokens`, in order.

    A piece ends where a sentence ends, unless that sentence alone exceeds the limit. Neighbours share whole
    sentences of at most `overlap_tokens`, or the last words when the last sentence is longer than that.
    """
    return _Packer(document, tokenizer, options).run()


class _Packer:
    def __init__(self, document: Flow, tokenizer: Tokenizer, options: ChunkOptions) -> None:
        self._document = document
        self._text = document.text
        self._count = tokenizer.count
        self._limit = options.max_tokens
        self._overlap = options.overlap_tokens
        self._atoms: list[_Atom] = []
        self._coming = self._counted()

    def run(self) -> Iterator[Piece]:
        first, index = 0, 0
        start, carried = (self._atoms[0].start, 0) if self._has(0) else (0, 0)
        while self._has(first):
            last = self._fill(first, carried)
            start, last, tokens = self._verified(start, first, last)
            yield self._piece(index, start, first, last, tokens)
            index += 1
            if self._has(last):
                start, carried = self._shared(first, last)
            first = last

    def _has(self, index: int) -> bool:
        """Whether there is an atom at `index`; tokens are counted only as far as needed, so that pieces come soon."""
        while len(self._atoms) <= index:
            atom = next(self._coming, None)
            if atom is None:
                return False
            self._atoms.append(atom)
        return True

    def _fill(self, first: int, carried: int) -> int:
        """The index after the last atom that fits, judged by the sum of counts."""
        atoms, limit = self._atoms, self._limit
        total, last = carried, first
        while self._has(last):
            atom = atoms[last]
            if last > first:
                if total + atom.tokens > limit:
                    break
                if atom.heading and total - carried >= limit // 2:
                    break
            total += atom.tokens
            last += 1
        return self._pleasant_end(first, last) if self._has(last) else last

    def _pleasant_end(self, first: int, last: int) -> int:
        """Go back to the end of a real sentence, so that headings and list heads stay with what follows them.

        At most a quarter of the chunk is given up for that.
        """
        spare = self._limit // 4
        kept = last
        while kept > first and spare >= 0:
            atom = self._atoms[kept - 1]
            if not atom.heading and self._text[atom.start : atom.end].rstrip(_CLOSERS)[-1:] in _SENTENCE_ENDS:
                return kept
            spare -= atom.tokens
            kept -= 1
        while last - 1 > first and self._atoms[last - 1].heading:
            last -= 1
        return last

    def _verified(self, start: int, first: int, last: int) -> tuple[int, int, int]:
        """Encode the final string; give up sentences, then the overlap, until it fits."""
        atoms = self._atoms
        while True:
            tokens = self._count(self._text[start : atoms[last - 1].end])
            if tokens <= self._limit:
                return start, last, tokens
            if last - first > 1:
                last -= 1
            elif start < atoms[first].start:
                start = self._shrunk(start, first)
            else:
                atoms[first : first + 1] = self._cut(atoms[first].start, atoms[first].end)

    def _shrunk(self, start: int, first: int) -> int:
        """Carry fewer words over when the next sentence needs the room."""
        room = self._limit - self._atoms[first].tokens - 1
        edge = self._atoms[first].start
        return self._tail(start + 1, edge, room) if room > 0 else edge

    def _shared(self, first: int, last: int) -> tuple[int, int]:
        """Where the next chunk begins, and how many tokens it repeats."""
        atoms = self._atoms
        edge = atoms[last].start
        if not self._overlap:
            return edge, 0
        room = min(self._overlap, self._limit - atoms[last].tokens)
        begin, total = last, 0
        while begin - 1 > first and total + atoms[begin - 1].tokens <= room:
            begin -= 1
            total += atoms[begin].tokens
        while begin < last:
            total = self._count(self._text[atoms[begin].start : atoms[last - 1].end])
            if total <= room:
                return atoms[begin].start, total
            begin += 1
        tail = atoms[last - 1]
        if tail.tokens <= room or room < 1:
            return edge, 0
        start = self._tail(tail.start, tail.end, room)
        return (start, self._count(self._text[start : tail.end])) if start < tail.end else (edge, 0)

    def _tail(self, start: int, end: int, room: int) -> int:
        """The start of the longest run of whole words before `end` that has at most `room` tokens."""
        begin = max(start, end - room * _LONGEST_COUNTED)
        while begin < end:
            at_word = begin == 0 or self._text[begin - 1].isspace()
            if not at_word:
                begin = self._next_word(begin, end)
                continue
            tokens = self._count(self._text[begin:end].strip())
            if tokens <= room:
                return begin
            begin = self._next_word(begin + max(1, (end - begin) * (tokens - room) // (tokens + 1)), end)
        return end

    def _next_word(self, at: int, end: int) -> int:
        while at < end and not self._text[at].isspace():
            at += 1
        while at < end and self._text[at].isspace():
            at += 1
        return at

    def _counted(self) -> Iterator[_Atom]:
        text, limit, longest = self._text, self._limit, self._limit * _LONGEST_COUNTED
        headings = {start for start, _ in self._document.headings}
        before = 0
        for start, end in sentence_spans(text):
            if end - start > longest:
                yield from self._cut(start, end)
            else:
                tokens = self._count(text[before:end])  # the space before is part of the first token
                if tokens > limit:
                    yield from self._cut(start, end)
                else:
                    yield _Atom(start, end, tokens, start in headings)
            before = end

    def _cut(self, start: int, end: int) -> list[_Atom]:
        """Cut an overlong sentence at words, a word longer than the limit at characters."""
        room = self._limit - self._overlap - 1
        parts: list[_Atom] = []
        while start < end:
            stop, tokens = self._longest_prefix(start, end, room)
            parts.append(_Atom(start, stop, tokens, heading=False))
            start = stop
            while start < end and self._text[start].isspace():
                start += 1
        return parts

    def _longest_prefix(self, start: int, end: int, room: int) -> tuple[int, int]:
        stop = min(end, start + room * _LONGEST_COUNTED)
        while True:
            if stop < end:
                stop = self._back_to_word(start, stop)
            tokens = self._count(self._text[start:stop])
            if tokens <= room or stop - start == 1:
                return stop, tokens
            stop = start + max(1, min(stop - start - 1, (stop - start) * room // tokens))

    def _back_to_word(self, start: int, stop: int) -> int:
        """The last white space in the second half of the span, else the span as it is."""
        text = self._text
        if text[stop].isspace():
            return stop
        for at in range(stop - 1, start + (stop - start) // 2, -1):
            if text[at].isspace():
                return at
        return stop

    def _piece(self, index: int, start: int, first: int, last: int, tokens: int) -> Piece:
        end = self._atoms[last - 1].end
        marks = self._document.marks(start, end)
        return Piece(
            index=index,
            text=self._text[start:end],
            tokens=tokens,
            page_start=marks[0][1],
            page_end=marks[-1][1],
            char_start=start,
            char_end=end,
            section=self._document.section_at(self._atoms[first].start),
            marks=marks,
            headings=self._document.headings_in(start, end),
        )
