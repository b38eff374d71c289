"""Quoting text that others wrote, so that in a prompt it stays data."""

import re

# "<" followed by anything but space opens a chat template's control token or tag: <|im_end|>, </s>, <<SYS>>. Servers
# read these in message text as if the template had written them.
_TAG_START = re.compile(r"<(?=\S)")
_BRACKETS = str.maketrans({"[": "(", "]": ")"})


def without_control_tokens(text: str) -> str:
    """Text that can end no message and start none."""
    return _TAG_START.sub("‹", text)


def as_source_text(text: str) -> str:
    """Text on one line that can forge neither a `[Source N]` marker nor a control token."""
    return without_control_tokens(" ".join(text.split()).translate(_BRACKETS))
