"""Blocks into one running text in which a newline is always the end of a sentence.

Chunks, citations and page marks are offsets into this text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from archive_librarian.domain.document import Block, Kind
from archive_librarian.domain.sections import SectionedBlock

_BULLET = re.compile(r"(?:[•‣◦▪–—*·●○■□➢✓-]|\(?(?:\d{1,3}|[A-Za-z])[.)]|\d{1,2}(?:\.\d{1,3})+)\s")
_SENTENCE_END = re.compile(r"[.!?…:;。！？｡][\"'”’»)\]」』）]*$")
_SPACES = re.compile(r"[ \t\u00a0\u2007\u202f\f\v\r]+")
_CJK = re.compile(r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_LEADERS = re.compile(r"(?:[.·…] ){3,}[.·…]?|[.·]{5,}")
_UNFINISHED = (",", ";", "(", "-", "–", "&")
_SHORT = 0.6


@dataclass(frozen=True, slots=True)
class Flow:
    """The text of a document, with the offset at which each page, section and heading starts.

    `pages` is [(offset, page)], `sections` [(offset, path)] and `headings` [(start, end)], all sorted.
    """

    text: str
    pages: tuple[tuple[int, int], ...]
    sections: tuple[tuple[int, tuple[str, ...]], ...]
    headings: tuple[tuple[int, int], ...]

    def page_at(self, offset: int) -> int:
        """The page (from 1) on which the character at `offset` stands."""
        return self.pages[max(bisect_right(self.pages, (offset, 1 << 60)) - 1, 0)][1] if self.pages else 1

    def marks(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """(offset from `start`, page) for the first character and for each page begun before `end`."""
        inside = bisect_right(self.pages, (start, 1 << 60))
        found = [(0, self.page_at(start))]
        while inside < len(self.pages) and self.pages[inside][0] < end:
            found.append((self.pages[inside][0] - start, self.pages[inside][1]))
            inside += 1
        return tuple(found)

    def headings_in(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """(start, end), from `start`, of each heading or part of one before `end`."""
        first = bisect_right(self.headings, start, key=itemgetter(1))
        after = bisect_left(self.headings, end, key=itemgetter(0))
        return tuple((max(left, start) - start, min(right, end) - start) for left, right in self.headings[first:after])

    def section_at(self, offset: int) -> tuple[str, ...]:
        """The headings above the character at `offset`, outermost first."""
        after = bisect_right(self.sections, offset, key=itemgetter(0))
        return self.sections[after - 1][1] if after else ()


def flow(blocks: Sequence[SectionedBlock]) -> Flow:
    """Join blocks: soft-wrapped lines by a space (none between CJK characters), all else by a newline."""
    parts: list[str] = []
    pages: list[tuple[int, int]] = []
    sections: list[tuple[int, tuple[str, ...]]] = []
    headings: list[tuple[int, int]] = []
    length = 0
    previous: Block | None = None
    opens = False
    widths = _page_widths([item.block for item in blocks])
    for item in blocks:
        block = item.block
        text = _clean(block)
        if not text:
            continue
        joiner = _joiner(previous, block, widths, opens=opens) if previous else ""
        # Bold lines that open a paragraph may be its heading; those that begin within one are not.
        opens = block.bold and (opens or joiner != " ")
        parts.append(joiner)
        length += len(joiner)
        if not pages or pages[-1][1] != block.page:
            pages.append((length, block.page))
        if not sections or sections[-1][1] != item.section:
            sections.append((length, item.section))
        if block.heading_level is not None:
            headings.append((length, length + len(text)))
        parts.append(text)
        length += len(text)
        previous = block
    return Flow(text="".join(parts), pages=tuple(pages), sections=tuple(sections), headings=tuple(headings))


def _clean(block: Block) -> str:
    text = block.text.replace("\x00", "").replace("\u00ad", "")
    if "....." in text or ". . . " in text:  # between a title and its page number in a table of contents
        text = _LEADERS.sub(" … ", text)
    if block.kind is Kind.CODE:
        return text.strip("\n").rstrip()
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _page_widths(blocks: Sequence[Block]) -> dict[int, int]:
    """Characters in a long line of each page: the 80th percentile of its lines."""
    lengths: dict[int, list[int]] = {}
    for block in blocks:
        if block.kind is Kind.LINE:
            lengths.setdefault(block.page, []).append(len(block.text))
    return {page: sorted(found)[len(found) * 4 // 5] for page, found in lengths.items()}


def _joiner(previous: Block, block: Block, widths: dict[int, int], *, opens: bool) -> str:
    if previous.kind is Kind.PART or _continues(previous, block, widths, opens=opens):
        return "" if _CJK.match(previous.text[-1:]) and _CJK.match(block.text[:1]) else " "
    return "\n"


def _continues(previous: Block, block: Block, widths: dict[int, int], *, opens: bool) -> bool:
    """Whether two visual lines belong to one paragraph; `opens`: all of it so far is bold."""
    if not _alike(previous, block) or _BULLET.match(block.text):
        return False
    if _ends_a_heading(previous, block, opens=opens) or _may_begin_one(previous, block):
        return False
    starts_low = block.text[:1].islower()
    if previous.page != block.page:
        return starts_low and not _SENTENCE_END.search(previous.text)
    if starts_low:
        return True
    return len(previous.text) >= _SHORT * widths.get(previous.page, 0)


def _alike(previous: Block, block: Block) -> bool:
    """Whether both are lines of running text in one size."""
    lines = previous.kind is Kind.LINE and block.kind is Kind.LINE
    running = previous.heading_level is None and block.heading_level is None
    return lines and running and _same_size(previous.font_size, block.font_size)


def _ends_a_heading(previous: Block, block: Block, *, opens: bool) -> bool:
    """Whether a heading in the size of the text is over; in doubt it is not, for that would cut a sentence in two."""
    return opens and not block.bold and block.text[:1].isupper() and not previous.text.endswith(_UNFINISHED)


def _may_begin_one(previous: Block, block: Block) -> bool:
    return block.bold and not previous.bold and _SENTENCE_END.search(previous.text) is not None


def _same_size(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 0.12 * max(one, other)
