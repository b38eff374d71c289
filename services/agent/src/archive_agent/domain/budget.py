"""Tokens: how many a text takes, and how an engine's context is shared out."""

import math

from archive_agent.domain.research import PromptBudget

FEWEST_CHARS_A_TOKEN = 3.2
"""Below what English takes in any current vocabulary (4 to 4.5), so that prompts fit engines whose own is unknown."""
SMALL_CONTEXT = 8192
SMALL_EVIDENCE = 450
"""A small model on one thread reads about 250 tokens a second, and what it does not read cannot distract it."""
LARGE_EVIDENCE = 4096
ANSWER = 320
ANSWER_SHARE = 0.25


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text takes, rather too many; characters beyond Latin count whole."""
    wide = sum(1 for character in text if ord(character) > 0x2E7F)
    return math.ceil((len(text) - wide) / FEWEST_CHARS_A_TOKEN) + wide


def research_budget(context: int) -> PromptBudget:
    """Share out the context of an engine between evidence and answer."""
    answer = min(ANSWER, int(context * ANSWER_SHARE))
    evidence = SMALL_EVIDENCE if context <= SMALL_CONTEXT else min(LARGE_EVIDENCE, context // 4)
    return PromptBudget(context=context, answer=answer, evidence=evidence)
