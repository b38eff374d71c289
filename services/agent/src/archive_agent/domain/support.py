"""Does anything that was found support an answer? Decided before the model is asked, which would answer anyway."""

from collections.abc import Mapping, Sequence

from archive_agent.domain.evidence import Candidate, SentenceKey, candidate_sentences
from archive_agent.domain.words import content_units, coverage

# Calibrated with all-MiniLM-L6-v2 over the five best passages of 310 questions that their corpus answers (HotpotQA,
# Cranfield, LoCoMo) and 520 asked of a corpus about something else, with passages of about 100 and of about 500
# tokens: 1.0 % and 1.0 % of the former are refused, 96.5 % and 98.7 % of the latter. The cosine of a
# passage sinks as it grows, that of its best sentence rises with chance; their mean does neither.
COVERAGE_WEIGHT = 0.3
THRESHOLD = 0.56
# Without sentence similarities: 0.3 % and 1.0 % of the former, 96.5 % and 98.9 % of the latter.
THRESHOLD_WITHOUT_SENTENCES = 0.48
# A question whose every word (two at least) stands within three sentences is about them, whatever the cosine says:
# part numbers and names mean nothing to the embedding model.
WORDS_FOR_EXACT_MATCH = 2

NO_SUPPORT_ANSWER = "I found nothing about this in the documents."


def is_supported(
    question: str, candidates: Sequence[Candidate], *, similarities: Mapping[SentenceKey, float] | None = None
) -> bool:
    """Whether an answer to the question may be attempted from these candidates."""
    if not candidates:
        return False
    wanted = content_units(question)
    found = max(_window_coverage(wanted, index, candidates) for index in range(len(candidates)))
    passage = max(candidate.similarity for candidate in candidates)
    sentence = max(similarities.values()) if similarities else None
    if sentence is None:
        supported = passage + COVERAGE_WEIGHT * found >= THRESHOLD_WITHOUT_SENTENCES
    else:
        supported = (passage + sentence) / 2 + COVERAGE_WEIGHT * found >= THRESHOLD
    exact = found >= 1.0 and len(set(wanted)) >= WORDS_FOR_EXACT_MATCH
    return supported or exact


def _window_coverage(wanted: Sequence[str], index: int, candidates: Sequence[Candidate]) -> float:
    """The largest share of the wanted words within any three successive sentences of a candidate.

    A whole chunk would do worse: of 500 tokens on anything, half of a question's words can be found somewhere.
    """
    candidate = candidates[index]
    heading = set(content_units(" ".join(candidate.section)))
    units = [set(content_units(sentence.text)) for sentence in candidate_sentences([candidate])[0]]
    windows = (set[str]().union(*units[start : start + 3]) for start in range(max(1, len(units) - 2)))
    return max(coverage(wanted, window | heading, {}) for window in windows)
