"""From what somebody typed to full-text queries that mean exactly that and stay cheap.

Every term goes to FTS5 as a quoted string, so that no text of a user is ever syntax. Scripts written without spaces
(Chinese, Japanese, Thai, Lao, Khmer, Burmese) cannot be split into words by the tokenizer; their runs are looked up in
a table of trigrams.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_TERMS = 64  # what a query may cost is bounded before anything is looked up
MAX_ANY = 16  # the alternatives of an OR; the rarest stay
COMMON_SHARE = 0.1  # ranking by a term in more than this share of many rows takes longer than it is worth
COMMON_FLOOR = 2000  # so many rows are ranked in milliseconds, and on Cranfield leaving such terms out costs 0.07 nDCG

# What questions are phrased with. Passages hold few of these, so a rare "what" would outweigh the subject.
_PHRASING = frozenset(
    [
        "a",
        "about",
        "an",
        "and",
        "any",
        "anyone",
        "anything",
        "are",
        "as",
        "at",
        "be",
        "been",
        "being",
        "between",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "done",
        "during",
        "each",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
        "me",
        "might",
        "must",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "shall",
        "she",
        "should",
        "so",
        "some",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "under",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)

_UNSEGMENTED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003ffff"  # Han beyond the basic plane
)
_RUN = re.compile(f"[{_UNSEGMENTED}]+")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look up: words, trigrams of unsegmented runs, and runs too short for a trigram."""

    words: tuple[str, ...] = ()
    grams: tuple[str, ...] = ()
    short_runs: tuple[str, ...] = ()


def is_unsegmented(text: str) -> bool:
    """Return whether a text holds a script that is written without spaces, and so belongs into the trigram table."""
    return _RUN.search(text) is not None


def terms(text: str) -> Terms:
    """Return the terms of a query in order of appearance, each once, case folded.

    Words of phrasing are left out where the query says anything else.
    """
    text = text.lower()
    words = _WORD.findall(_RUN.sub(" ", text))
    grams: list[str] = []
    short: list[str] = []
    for run in _RUN.findall(text):
        if len(run) < 3:
            short.append(run)
        grams.extend(run[start : start + 3] for start in range(len(run) - 2))
    subject = [word for word in words if word not in _PHRASING]
    return Terms(_capped(subject if subject or grams or short else words), _capped(grams), _capped(short))


def _capped(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))[:MAX_TERMS]


def common_above(rows: int) -> int:
    """Return how many of ``rows`` a term may be in before it counts as common."""
    return max(COMMON_FLOOR, int(rows * COMMON_SHARE))


def informative(frequencies: Mapping[str, int], rows: int) -> list[str]:
    """Return the terms worth asking for, rarest first.

    Terms that are nowhere are dropped, and common ones when a rarer one exists: ranking a million rows by a word that
    most of them hold takes half a second and changes little.
    """
    known = [term for term, count in frequencies.items() if count > 0]
    known.sort(key=lambda term: (frequencies[term], term))
    limit = common_above(rows)
    rare = [term for term in known if frequencies[term] <= limit]
    return rare or known


def quoted(term: str) -> str:
    """Return a term as an FTS5 string; inside one only the quote has a meaning."""
    return '"' + term.replace('"', '""').replace("\0", " ") + '"'


def match_all(scope: str, wanted: Iterable[str]) -> str:
    """Return the query for rows of ``scope`` that hold every term."""
    return _within(scope, " AND ".join(quoted(term) for term in wanted))


def match_any(scope: str, wanted: Iterable[str]) -> str:
    """Return the query for rows of ``scope`` that hold at least one of the first MAX_ANY terms."""
    return _within(scope, " OR ".join(quoted(term) for term in list(wanted)[:MAX_ANY]))


def scope_of(tenant: int) -> str:
    """Return the token that stands in every row of a tenant; the brackets keep trigrams of <1> out of <12>."""
    return f"<{tenant}>"


def _within(scope: str, condition: str) -> str:
    return f"scope : {quoted(scope)} AND body : ({condition})"
