"""Citations of an answer: which sources it refers to, and which of these support what it says.

The text that is delivered decides. A small model often answers from a source and writes no marker; CitationStream adds
it while the answer passes through, at the end of the sentence that the source supports, so that every reader sees the
marker which makes a source `cited`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from archive_agent.domain.sentences import is_abbreviated, split_sentences
from archive_agent.domain.words import content_units, is_negated, is_number

# Of a claim's distinct content words, the share that two neighbouring sentences of the source must hold. A claim that
# the model itself ascribes to a source needs less than one that is ascribed to it afterwards.
CITED_COVERAGE = 0.5
ATTRIBUTED_COVERAGE = 0.75
MIN_SHARED_UNITS = 2
MAX_MARKER = 60  # characters between the brackets

_MARKER = re.compile(
    r"\[\s*(?:sources?\s*)?#?(?P<numbers>\d{1,3}(?:\s*(?:,|;|&|and|-|–|,\s*and)\s*(?:sources?\s*)?#?\d{1,3})*)\s*\]",
    re.IGNORECASE,
)
_CITED = re.compile(rf"\s*{_MARKER.pattern}", re.IGNORECASE)
_MENTION = re.compile(r"\bsources? #?(?P<numbers>\d{1,3}(?:(?:,| and|, and| &) \d{1,3})*)\b", re.IGNORECASE)
# What the prompt calls a source, which a small model repeats after the marker; it is no part of what is claimed.
_LABEL = re.compile(rf"{_MARKER.pattern} [^\[\]\n:]{{1,90}}, p\. \d{{1,5}}:", re.IGNORECASE)
_LIST_ITEM = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+")
_RANGE = re.compile(r"(\d+)\s*[-–]\s*(?:sources?\s*)?(\d+)", re.IGNORECASE)
_STOP = re.compile(r"\n\s*|(?:[.!?…]+|[。！？])[\"'”’)]*")
_BRACKET = re.compile(rf"\s*\[[^\[\]\n]{{1,{MAX_MARKER}}}\]")
_OPEN_BRACKET = re.compile(rf"\[[^\[\]\n]{{0,{MAX_MARKER}}}\Z")


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer without its markers, and the sources that it refers to."""

    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class CitationReport:
    """What an answer cites.

    `cited`: referred to by a sentence that the source supports. `unsupported`: referred to, and never supporting.
    `invalid`: numbers that no source has.
    """

    cited: frozenset[int]
    unsupported: frozenset[int]
    invalid: tuple[int, ...]


def find_claims(answer: str) -> list[Claim]:
    """The sentences of an answer with their sources; a marker after a full stop belongs to the sentence before.

    Markers are `[Source 1]`, `[1]`, `[Source 1, 2]`, `[Sources 1 and 3]`, `[1-3]`.
    """
    return [_claim(sentence) for sentence, _ in _Splitter().feed(answer, final=True) if sentence.strip()]


def supports(claim: str, source: str, *, threshold: float = CITED_COVERAGE) -> bool:
    """Whether a source supports a claim by overlap.

    Every number of the claim and `threshold` of its distinct content words stand in two neighbouring sentences of the
    source, two of them at least (or all, where the claim has fewer). A claim that negates needs a negation there.
    """
    return max((_share(claim, passage) for passage in _passages(source)), default=0.0) >= threshold


def check(answer: str, sources: Mapping[int, str]) -> CitationReport:
    """Judge the markers of a delivered answer; `sources` maps their numbers to what the model was shown of them."""
    referred: dict[int, None] = {}
    cited: set[int] = set()
    for claim in find_claims(answer):
        for number in claim.numbers:
            referred[number] = None
            if number in sources and number not in cited and supports(claim.text, sources[number]):
                cited.add(number)
    known = frozenset(number for number in referred if number in sources)
    invalid = tuple(number for number in referred if number not in sources)
    return CitationReport(frozenset(cited), known - cited, invalid)


def without_markers(text: str) -> str:
    """Return a text without its markers: in another answer their numbers name other sources."""
    return _CITED.sub("", text)


def attribute(claim: str, sources: Mapping[int, str], *, question: str = "") -> int | None:
    """The source that clearly supports a claim, None where there is none.

    The claim must share something with it that the question did not say: a sentence that repeats the question would
    be found in any source that the question found.
    """
    asked = set(content_units(question))
    fresh = set(content_units(claim)) - asked
    best, best_share = None, ATTRIBUTED_COVERAGE
    for number, source in sorted(sources.items()):
        for passage in _passages(source):
            share = _share(claim, passage)
            contradicts = is_negated(passage) != is_negated(claim)
            better = share > best_share or (best is None and share == best_share)
            if better and not contradicts and fresh & set(content_units(passage)):
                best, best_share = number, share
    return best


class _Splitter:
    """Cuts an answer into sentences as it arrives; each keeps its white space and the markers that follow it.

    Whether a stop ends a sentence is decided only when the next character that is neither space nor part of a marker
    has come, so the cuts do not depend on how the answer was cut into deltas.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._held_from = 0
        self._scan_from = 0

    def feed(self, delta: str, *, final: bool) -> list[tuple[str, int]]:
        """The sentences that are complete now, each with the place before its last stop."""
        self._rest += delta
        sentences: list[tuple[str, int]] = []
        while True:
            stop = _STOP.search(self._rest, self._scan_from)
            if stop is None:
                self._held_from = self._without_tail()
                break
            end = self._end_of_tail(stop.end())
            if not final and self._undecided(end):
                self._held_from = min(self._before(stop), self._without_tail())
                break
            if self._ends(stop, end):
                sentences.append((self._rest[:end], self._before(stop)))
                self._rest, self._scan_from = self._rest[end:], 0
            else:
                self._scan_from = stop.end()
        if final and self._rest:
            sentences.append((self._rest, len(self._rest.rstrip())))
            self._rest = ""
        return sentences

    def ready(self) -> str:
        """The beginning of the unfinished sentence to which nothing can be added any more."""
        return self._rest[: self._held_from]

    def _before(self, stop: re.Match[str]) -> int:
        """Where a marker goes: before the stop, and before the spaces that end a line."""
        start = stop.start()
        return len(self._rest[:start].rstrip()) if stop.group().startswith("\n") else start

    def _without_tail(self) -> int:
        return len(self._rest.rstrip())

    def _end_of_tail(self, position: int) -> int:
        while (bracket := _BRACKET.match(self._rest, position)) and _MARKER.fullmatch(bracket.group().strip()):
            position = bracket.end()
        while position < len(self._rest) and self._rest[position].isspace():
            position += 1
        return position

    def _undecided(self, end: int) -> bool:
        return end >= len(self._rest) or bool(_OPEN_BRACKET.match(self._rest, end))

    def _ends(self, stop: re.Match[str], end: int) -> bool:
        """As ends_sentence decides, but a line break ends one too, and markers may follow the stop."""
        if "\n" in stop.group() or stop.group()[0] in "。！？":
            return bool(self._rest[: stop.start()].strip())
        tail, following = self._rest[stop.end() : end], self._rest[end : end + 1]
        if (following and not tail) or following.islower():
            return False
        # In "1. [Source 1] ..." the number belongs to a list whatever follows it.
        return not is_abbreviated(self._rest[: stop.start()], stop.group())


@dataclass
class CitationStream:
    """Passes an answer through and adds ` [Source N]` to sentences that a source clearly supports.

    A fold over deltas: whatever the cuts, the pieces returned join to the same text. All but the last few characters of
    a finished sentence pass at once. `sources` maps numbers to what the model was shown of them. An answer in which
    the model writes markers itself is left as it is from the first of them on: it knows how to, and chose.
    """

    sources: Mapping[int, str]
    question: str = ""
    text: str = ""
    """What was delivered so far."""
    attributed: set[int] = field(default_factory=set[int])
    """The sources whose markers were added here."""
    _emitted: int = 0
    _model_cites: bool = False
    _splitter: _Splitter = field(default_factory=_Splitter)

    def feed(self, delta: str) -> str:
        """Take a piece of the model's answer; returns what may be delivered now, perhaps nothing."""
        return self._advance(delta, final=False)

    def close(self) -> str:
        """The model has finished; returns what was still held."""
        return self._advance("", final=True)

    def report(self) -> CitationReport:
        """Judge what was delivered."""
        return check(self.text, self.sources)

    def _advance(self, delta: str, *, final: bool) -> str:
        pieces: list[str] = []
        for sentence, at in self._splitter.feed(delta, final=final):
            whole = self._completed(sentence, at)
            pieces.append(whole[self._emitted :])
            self._emitted = 0
        ready = self._splitter.ready()
        if len(ready) > self._emitted:
            pieces.append(ready[self._emitted :])
            self._emitted = len(ready)
        delivered = "".join(pieces)
        self.text += delivered
        return delivered

    def _completed(self, sentence: str, at: int) -> str:
        claim = _claim(sentence)
        self._model_cites = self._model_cites or any(number in self.sources for number in claim.numbers)
        if self._model_cites:
            return sentence
        number = attribute(claim.text, self.sources, question=self.question)
        if number is None:
            return sentence
        self.attributed.add(number)
        return f"{sentence[:at]} [Source {number}]{sentence[at:]}"


def _claim(sentence: str) -> Claim:
    found = [*_MARKER.finditer(sentence), *_MENTION.finditer(sentence)]
    numbers = tuple(dict.fromkeys(number for match in found for number in _numbers(match.group("numbers"))))
    # Numbers that count sources or list items claim nothing.
    bare = _LIST_ITEM.sub("", _MENTION.sub(" ", _MARKER.sub(" ", _LABEL.sub(" ", sentence))))
    return Claim(" ".join(bare.split()), numbers)


def _numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for first, last in _RANGE.findall(text):
        found.extend(range(int(first), min(int(last), int(first) + 20) + 1))
    found.extend(int(number) for number in re.findall(r"\d+", text))
    return tuple(dict.fromkeys(sorted(found) if _RANGE.search(text) else found))


def _passages(source: str) -> Sequence[str]:
    """Every two neighbouring sentences of a source, joined."""
    sentences = [source[span.start : span.end] for span in split_sentences(source)]
    if len(sentences) < 2:
        return sentences
    return [f"{left} {right}" for left, right in pairwise(sentences)]


def _share(claim: str, passage: str) -> float:
    """The share of the claim's content words in the passage; 0 where a number or a negation is missing."""
    wanted, held = set(content_units(claim)), set(content_units(passage))
    shared = wanted & held
    if len(shared) < min(MIN_SHARED_UNITS, len(wanted)) or not wanted:
        return 0.0
    if any(is_number(unit) and unit not in held for unit in wanted):
        return 0.0
    if is_negated(claim) and not is_negated(passage):
        return 0.0
    return len(shared) / len(wanted)
