"""Which headings stand above each block.

DOCX, HTML and Markdown say so themselves (`heading_level`). In a PDF the outline says it when there is one,
else the font sizes do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from archive_librarian.domain.document import Block, Extracted, Kind, OutlineEntry

_LARGER = 1.12
_LONGEST_HEADING = 160
_DEEPEST = 6
_LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True)
class SectionedBlock:
    block: Block
    section: tuple[str, ...]


def sectioned(document: Extracted) -> list[SectionedBlock]:
    """Give every block its section path, outermost heading first.

    A heading belongs to its own section.
    """
    if any(block.heading_level is not None for block in document.blocks):
        return _by_levels(document.blocks, {})
    if document.outline:
        return _by_outline(document.blocks, document.outline)
    return _by_levels(_levels_from_sizes(document.blocks), {})


def _by_levels(blocks: Sequence[Block], opened: dict[int, list[tuple[int, str]]]) -> list[SectionedBlock]:
    """Walk with a stack of open headings; `opened` adds (level, title) in front of the block at an index."""
    stack: list[tuple[int, str]] = []
    found: list[SectionedBlock] = []
    path: tuple[str, ...] = ()
    for index, block in enumerate(blocks):
        entering = opened.get(index, [])
        if not entering and block.heading_level is not None:
            entering = [(block.heading_level, " ".join(block.text.split()))]
        for level, title in entering:
            while stack and stack[-1][0] >= level:
                stack.pop()
            stack.append((level, title[:_LONGEST_TITLE]))
            path = tuple(name for _, name in stack)
        found.append(SectionedBlock(block, path))
    return found


def _by_outline(blocks: Sequence[Block], outline: Sequence[OutlineEntry]) -> list[SectionedBlock]:
    """Place every bookmark at the line that repeats its title, else at the top of its page."""
    first_of_page: dict[int, int] = {}
    last_of_page: dict[int, int] = {}
    for index, block in enumerate(blocks):
        first_of_page.setdefault(block.page, index)
        last_of_page[block.page] = index
    marked = list(blocks)
    opened: dict[int, list[tuple[int, str]]] = {}
    cursor = 0
    for entry in sorted(outline, key=lambda item: item.page):
        first = first_of_page.get(entry.page)
        if first is None:
            continue
        span = range(max(first, cursor), last_of_page[entry.page] + 1)
        at = _line_of(entry.title, blocks, span)
        if at is None:
            opened.setdefault(max(first, cursor), []).append((entry.level, entry.title))
            continue
        marked[at] = replace(blocks[at], heading_level=min(entry.level, _DEEPEST))
        opened.setdefault(at, []).append((entry.level, entry.title))
        cursor = at
    return _by_levels(marked, opened)


def _line_of(title: str, blocks: Sequence[Block], span: range) -> int | None:
    wanted = _letters(title)
    if not wanted:
        return None
    for index in span:
        line = _letters(blocks[index].text[:_LONGEST_HEADING])
        if not line:
            continue
        numbered = line.endswith(wanted) and len(line) - len(wanted) <= 12
        unnumbered = wanted.endswith(line) and len(wanted) - len(line) <= 12
        wrapped = len(line) >= 8 and wanted.startswith(line)
        if numbered or unnumbered or wrapped:
            return index
    return None


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _levels_from_sizes(blocks: Sequence[Block]) -> Sequence[Block]:
    """Headings are short lines clearly larger than the size most characters are set in."""
    weights: Counter[float] = Counter()
    for block in blocks:
        if block.font_size:
            weights[round(block.font_size * 2) / 2] += len(block.text)
    if len(weights) < 2:
        return blocks
    body = weights.most_common(1)[0][0]
    larger = [index for index, block in enumerate(blocks) if _looks_like_heading(block, body)]
    if not larger or len(larger) > len(blocks) // 4:
        return blocks
    sizes = sorted({round((blocks[index].font_size or 0) * 2) / 2 for index in larger}, reverse=True)
    marked = list(blocks)
    for index in larger:
        rank = sizes.index(round((blocks[index].font_size or 0) * 2) / 2) + 1
        marked[index] = replace(blocks[index], heading_level=min(rank, _DEEPEST))
    return _joined_headings(marked)


def _looks_like_heading(block: Block, body: float) -> bool:
    return (
        block.kind is Kind.LINE
        and block.font_size is not None
        and block.font_size >= body * _LARGER
        and len(block.text) <= _LONGEST_HEADING
        and sum(character.isalpha() for character in block.text) >= 2
    )


def _joined_headings(blocks: Sequence[Block]) -> list[Block]:
    """A heading set on two lines is one heading."""
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if (
            last is not None
            and block.heading_level is not None
            and (last.heading_level, last.page, last.font_size) == (block.heading_level, block.page, block.font_size)
            and len(last.text) + len(block.text) < _LONGEST_HEADING
        ):
            joined[-1] = replace(last, text=f"{last.text} {block.text}")
        else:
            joined.append(block)
    return joined
