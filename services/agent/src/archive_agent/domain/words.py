"""What a text is about: its content words, stemmed, and its numbers."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

_TOKEN = re.compile(r"(?P<number>\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)?)")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_VOWEL = re.compile(r"[aeiouy]")
_DOUBLED = re.compile(r"([bdgmnprt])\1$")

_FROM_TWO = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_FROM_TWO.split(), start=2)}

# The last three lines are what questions and answers say about answering.
_STOPWORD_TEXT = """
a about above after again against all also am an and any are aren't as at be because been before being below between
both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each either else etc ever
every few for from further had has have having he her here hers herself him himself his how however i if in into is
isn't it its itself just let's like many may me might more most much must my myself neither no nor not of off often on
once one only onto or other our ours ourselves out over own per please quite rather s same shall she should shouldn't
since so some such t than that the their theirs them themselves then there therefore these they this those though
through thus to too under until up upon us very via was wasn't we were weren't what when where whether which while who
whom whose why will with within without won't would wouldn't yet you your yours yourself yourselves
according answer describe document documents explain find give know list
mention mentioned name question said say says show source sources state
stated tell text
"""
STOPWORDS = frozenset(_STOPWORD_TEXT.split())

NEGATIONS = frozenset({"not", "no", "never", "cannot", "without", "neither", "nor", "none", "nothing"})


def content_units(text: str) -> list[str]:
    """Stems of content words and normalised numbers, in their order, with repetitions.

    Scripts that write no spaces give overlapping pairs of characters. `1,200`, `1200.0` and, up to twenty, number words
    are the same number.
    """
    units: list[str] = []
    for match in _TOKEN.finditer(text):
        number = match.group("number")
        if number:
            units.append(_normal_number(number))
            continue
        word = match.group("word").lower().replace("’", "'")
        if word in STOPWORDS:
            continue
        if _UNSPACED.search(word):
            units.extend(word[index : index + 2] for index in range(max(1, len(word) - 1)))
        else:
            units.append(_NUMBER_WORDS.get(word) or stem(word))
    return units


def is_number(unit: str) -> bool:
    """Whether a unit came from a number."""
    return unit[:1].isdigit()


def is_negated(text: str) -> bool:
    """Whether a text holds a negation."""
    words = (match.group().lower().replace("’", "'") for match in _TOKEN.finditer(text))
    return any(word in NEGATIONS or word.endswith("n't") for word in words)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A light English stem: plural, -ing, -ed, -ly and a final -e removed.

    Coarser stemmers join words that differ (organ, organization), which here would support a claim that nothing does.
    """
    word = word.removesuffix("'s").replace("'", "")
    word = _singular(word)
    for suffix in ("ing", "ed"):
        rest = word.removesuffix(suffix)
        if rest != word and len(rest) >= 3 and _VOWEL.search(rest):
            word = _DOUBLED.sub(r"\1", rest)
            break
    if len(word) > 5:
        word = word.removesuffix("ly")
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _singular(word: str) -> str:
    if len(word) <= 3:
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _normal_number(text: str) -> str:
    digits = text.replace(",", "")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits.lstrip("0") or "0"


def inverse_frequencies(texts: Iterable[Collection[str]]) -> Mapping[str, float]:
    """idf of every unit of these texts: ln(1 + (n - df + 0.5) / (df + 0.5)), as in BM25 (Robertson and Zaragoza 2009).

    A unit that none of them holds has the weight of `""`.
    """
    counts = Counter[str]()
    total = 0
    for units in texts:
        counts.update(set(units))
        total += 1
    weights = {unit: math.log(1 + (total - count + 0.5) / (count + 0.5)) for unit, count in counts.items()}
    weights[""] = math.log(1 + (total + 0.5) / 0.5)
    return weights


def coverage(wanted: Collection[str], held: Collection[str], weights: Mapping[str, float]) -> float:
    """The weighted share, 0 to 1, of the distinct wanted units that are held; 0 where nothing is wanted."""
    missing_weight = weights.get("", 1.0)
    distinct = set(wanted)
    total = sum(weights.get(unit, missing_weight) for unit in distinct)
    if not total:
        return 0.0
    return sum(weights.get(unit, missing_weight) for unit in distinct if unit in held) / total
