"""Messages and text that fit a number of tokens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

CountTokens = Callable[[str], int]

ELLIPSIS = " …"
MESSAGE_TOKENS = 8  # what a chat template puts around one message


@dataclass(frozen=True)
class Message:
    """A chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


def message_tokens(messages: Iterable[Message], count_tokens: CountTokens) -> int:
    """What messages take of a context."""
    return sum(count_tokens(message.content) + MESSAGE_TOKENS for message in messages)


def shorten(text: str, limit: int, count_tokens: CountTokens) -> str:
    """The longest beginning of a text that takes at most `limit` tokens, with an ellipsis; empty where none fits."""
    if count_tokens(text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(text[:middle].rstrip() + ELLIPSIS) <= limit:
            low = middle
        else:
            high = middle - 1
    cut = text[:low]
    # Between words where a space is near, since half a word or half a number says something else.
    space = cut.rfind(" ")
    if space > low * 2 // 3:
        cut = cut[:space]
    return cut.rstrip() + ELLIPSIS if cut.strip() else ""
