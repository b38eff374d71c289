"""Effects once inside a transaction of one's own."""

from hypothesis import given
from hypothesis import strategies as st

from archive_bus import once


class Memory:
    """An inbox in a dictionary."""

    def __init__(self) -> None:
        self.results: dict[str, int] = {}

    def earlier(self, message_id: str) -> int | None:
        return self.results.get(message_id)

    def record(self, message_id: str, result: int) -> None:
        self.results[message_id] = result


@given(st.lists(st.sampled_from("abcde")))
def test_each_message_has_one_effect(messages: list[str]) -> None:
    inbox, effects = Memory(), list[str]()

    def effect(message: str) -> int:
        effects.append(message)
        return len(effects)

    results = [once(inbox, message, lambda message=message: effect(message)) for message in messages]
    assert effects == list(dict.fromkeys(messages))
    assert results == [effects.index(message) + 1 for message in messages]
