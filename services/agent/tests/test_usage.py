"""What the calls of a run come to on somebody's account."""

from archive_agent.domain.usage import ModelCall, Tally, by_model
from archive_contracts.agents import ModelUse
from archive_contracts.base import Spent
from archive_contracts.chat import ChatCompleted, Usage


def completed(usage: Usage) -> ChatCompleted:
    return ChatCompleted(engine="e", pool="p", model="answering", usage=usage)


def test_counted_call_is_taken_at_its_word() -> None:
    call = ModelCall("asked", prompt_chars=10, done=completed(Usage(prompt_tokens=7, completion_tokens=3)))
    assert call.use() == ModelUse(model="answering", prompt_tokens=7, completion_tokens=3)


def test_uncounted_call_is_estimated() -> None:
    call = ModelCall("asked", prompt_chars=10, pieces=4, done=completed(Usage()))
    assert call.use() == ModelUse(model="answering", prompt_tokens=3, completion_tokens=4, estimated=1)


def test_failed_call_costs_what_it_spent() -> None:
    spent = Spent(engine="e", model="answering", prompt_tokens=5, completion_tokens=2, estimated=True)
    call = ModelCall("asked", prompt_chars=10, pieces=9, spent=spent)
    assert call.use() == ModelUse(model="answering", prompt_tokens=5, completion_tokens=2, cut=1, estimated=1)


def test_silent_call_costs_nothing_until_it_speaks() -> None:
    tally = Tally(earlier=[ModelUse(model="asked", prompt_tokens=1)])
    call = tally.call("asked", prompt_chars=4)
    assert tally.used() == (ModelUse(model="asked", prompt_tokens=1),)
    call.pieces = 2
    (used,) = tally.used()
    assert (used.requests, used.prompt_tokens, used.completion_tokens, used.cut) == (2, 2, 2, 1)


def test_uses_are_summed_by_model() -> None:
    one, other = ModelUse(model="a", prompt_tokens=1), ModelUse(model="b", completion_tokens=2, cut=1)
    assert by_model([one, other, one]) == (ModelUse(model="a", requests=2, prompt_tokens=2), other)
