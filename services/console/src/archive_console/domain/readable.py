"""Fields of a message as people read them."""

import contextlib
import json
from collections.abc import Mapping

SHOWN_CHARS = 20_000


def readable(fields: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Return the fields of an entry for people: JSON laid out, what is no text as its bytes."""
    return [(name.decode(errors="replace"), _readable(value)) for name, value in fields.items()]


def _readable(value: bytes) -> str:
    try:
        whole = value.decode()
    except UnicodeDecodeError:
        return repr(value[:SHOWN_CHARS])
    if whole[:1] in "{[":
        with contextlib.suppress(ValueError, RecursionError):
            whole = json.dumps(json.loads(whole), indent=2, ensure_ascii=False)
            # Half a character, which JSON can spell, can be shown nowhere.
            whole = whole.encode(errors="replace").decode()
    return whole if len(whole) <= SHOWN_CHARS else f"{whole[:SHOWN_CHARS]}\n… {len(whole) - SHOWN_CHARS} more"
