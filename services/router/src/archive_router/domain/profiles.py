"""Profiles: model names that stand for a kind of work, with the tier and the parameters it wants.

The five profiles and the reading of complexity are Universal AI Tools'; there they chose a provider, here they choose
among the lanes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from archive_contracts.engine import Parameters, Tier
from archive_router.domain.demand import Demand

ANSWER_ROOM = 256
"""Tokens that an answer needs at least; with less left of a window no limit is set and the engine decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a kind of work wants; ``context`` and ``max_tokens`` in tokens."""

    tier: Tier
    max_tokens: int
    temperature: float
    context: int
    tags: frozenset[str] = frozenset()


PROFILES: Mapping[str, Profile] = {
    "fast-response": Profile(tier="fast", max_tokens=1500, temperature=0.5, context=4_096),
    "assistant": Profile(tier="balanced", max_tokens=3000, temperature=0.7, context=8_192),
    "planner-pro": Profile(
        tier="powerful", max_tokens=4000, temperature=0.3, context=16_384, tags=frozenset({"planning"})
    ),
    "code-expert": Profile(tier="powerful", max_tokens=6000, temperature=0.2, context=16_384, tags=frozenset({"code"})),
    "expert-reasoning": Profile(
        tier="expert", max_tokens=8000, temperature=0.3, context=32_768, tags=frozenset({"reasoning"})
    ),
}
SMART = "smart"
"""The name that lets the words of the request choose the profile."""

_BY_COMPLEXITY = ("fast-response", "assistant", "planner-pro", "expert-reasoning")
_WORDS = (10, 50, 200)
"""A request of fewer words than these is simple, medium, complex; a longer one is for experts."""
_CODE = re.compile(
    r"```|\b(?:def|class|function|traceback|stack ?trace|regex|sql|refactor|debug|compile|unit tests?|python|rust|"
    r"javascript|typescript|c\+\+)\b",
    re.IGNORECASE,
)
_HARD = re.compile(
    r"\b(?:prove|proof|derive|theorem|step by step|trade-?offs?|architecture|optimi[sz]e|analy[sz]e|research|"
    r"root cause|formal(?:ly)?|algorithm)\b",
    re.IGNORECASE,
)
_PLAN = re.compile(r"\b(?:plan|roadmap|strategy|milestones?|schedule|design)\b", re.IGNORECASE)


def complexity(text: str) -> int:
    """Return 0 (simple) to 3 (for experts): by the number of words, raised by words that announce hard work."""
    words = len(text.split())
    level = sum(words >= bound for bound in _WORDS)
    return min(3, level + bool(_HARD.search(text)) + (bool(_PLAN.search(text)) and level < 2))


def profile_for(model: str, text: str) -> Profile | None:
    """Return the profile that a model name means, if it means one; ``text`` is what the user said."""
    if model != SMART:
        return PROFILES.get(model)
    return PROFILES["code-expert" if _CODE.search(text) else _BY_COMPLEXITY[complexity(text)]]


def wishing(demand: Demand, profile: Profile) -> Demand:
    """Return the demand with the profile's wishes in place of a model's name."""
    return replace(demand, model="", tier=profile.tier, context=profile.context, tags=demand.tags | profile.tags)


def parameters(profile: Profile, *, prompt_tokens: int, context: int) -> Parameters:
    """Return what the profile sets, the answer's length cut to what the window leaves (``context`` 0: unknown)."""
    left = context - prompt_tokens if context else profile.max_tokens
    room = min(profile.max_tokens, left)
    return Parameters(max_tokens=room if room >= ANSWER_ROOM else None, temperature=profile.temperature)
