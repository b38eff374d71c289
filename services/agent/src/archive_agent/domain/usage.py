"""What a run has asked of models, for the account of whoever began it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archive_contracts.agents import ModelUse
from archive_contracts.base import Spent
from archive_contracts.chat import ChatCompleted

CHARS_A_TOKEN = 4
"""What prose in English takes; only for calls whose tokens no engine has counted."""


@dataclass(slots=True)
class ModelCall:
    """One call of a model. Until ``done`` says how it ended it counts as broken off, by the ``pieces`` that came."""

    model: str
    prompt_chars: int
    pieces: int = 0
    done: ChatCompleted | None = None
    spent: Spent | None = None

    def use(self) -> ModelUse | None:
        """Return what the call has used, None for one that no model has answered with anything."""
        if self.done:
            used = self.done.usage
            counted = bool(used.prompt_tokens or used.completion_tokens or used.total_tokens)
            return ModelUse(
                model=self.done.model,
                prompt_tokens=used.prompt_tokens if counted else self._prompt_tokens,
                completion_tokens=used.completion_tokens if counted else self.pieces,
                estimated=0 if counted else 1,
            )
        if self.spent:
            return ModelUse(
                model=self.spent.model,
                prompt_tokens=self.spent.prompt_tokens,
                completion_tokens=self.spent.completion_tokens,
                cut=1,
                estimated=int(self.spent.estimated),
            )
        if not self.pieces:
            return None
        return ModelUse(
            model=self.model,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self.pieces,
            cut=1,
            estimated=1,
        )

    @property
    def _prompt_tokens(self) -> int:
        return _tokens(self.prompt_chars)


def told_use(model: str, text: str, *, prompt_chars: int) -> ModelUse:
    """Return what a call has used that broke off with its process, by the text that somebody was told of it."""
    return ModelUse(
        model=model, prompt_tokens=_tokens(prompt_chars), completion_tokens=_tokens(len(text)), cut=1, estimated=1
    )


def as_spent(use: ModelUse) -> Spent:
    """Return the use of a call that broke off as the problem tells it that broke it."""
    return Spent(engine="", model=use.model, prompt_tokens=use.prompt_tokens, completion_tokens=use.completion_tokens)


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_A_TOKEN)


@dataclass(slots=True)
class Tally:
    """All calls of a run: those of this process, and what ``earlier`` processes wrote down."""

    earlier: Sequence[ModelUse] = ()
    _calls: list[ModelCall] = field(default_factory=list[ModelCall])

    def call(self, model: str, *, prompt_chars: int) -> ModelCall:
        """Return a call that begins now."""
        begun = ModelCall(model, prompt_chars)
        self._calls.append(begun)
        return begun

    def used(self) -> tuple[ModelUse, ...]:
        """Return what was used of each model."""
        return by_model([*self.earlier, *(use for call in self._calls if (use := call.use()))])


def by_model(uses: Iterable[ModelUse]) -> tuple[ModelUse, ...]:
    """Return one sum for each model, in the order in which they were first used."""
    sums: dict[str, ModelUse] = {}
    for use in uses:
        known = sums.get(use.model)
        sums[use.model] = _sum(known, use) if known else use
    return tuple(sums.values())


def _sum(one: ModelUse, other: ModelUse) -> ModelUse:
    return ModelUse(
        model=one.model,
        requests=one.requests + other.requests,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        cut=one.cut + other.cut,
        estimated=one.estimated + other.estimated,
    )
