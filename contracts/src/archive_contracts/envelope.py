"""The envelope of a message: plain stream fields, readable with ``XRANGE``.

Names follow CloudEvents where it has one (``id source type time subject``); the rest is what a hop needs to trace,
expire, isolate and answer the message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from time import time

INLINE_LIMIT = 256 * 1024
"""Bytes of ``data`` above which the bus stores a blob and sends its reference."""

BLOB_PREFIX = b"blob:sha256:"
"""How ``data`` begins when it is a blob reference. JSON never begins so."""


class EnvelopeError(ValueError):
    """A stream entry is not an envelope; it goes to the dead letters with this text."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One message as it lies on a stream.

    ``reply`` is the address of the caller, ``<process>/<call>``; ``deadline`` is milliseconds since the epoch, 0 when
    there is none; ``shadow`` names the comparison that a copied message belongs to, and such a message has no effects.
    ``log`` is the id under which the answer is kept while it streams, for whoever resumes it; ``seq`` the place of a
    reply in such an answer, from 1 on, 0 elsewhere.
    """

    id: str
    type: str
    source: str = ""
    time: str = ""
    subject: str = ""
    traceparent: str = ""
    tracestate: str = ""
    correlation: str = ""
    causation: str = ""
    deadline: int = 0
    tenant: str = "default"
    shadow: str = ""
    reply: str = ""
    log: str = ""
    seq: int = 0
    data: bytes = b"{}"

    def to_fields(self) -> dict[str, str | bytes | int]:
        """Return the fields of the stream entry; empty ones are left out."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def from_fields(cls, raw: Mapping[bytes, bytes], *, entry_id: str = "") -> "Envelope":
        """Read an envelope from a stream entry.

        Only ``type`` is needed, so that foreign publishers can stay simple; ``id`` falls back to the entry's own.

        Raises:
            EnvelopeError: no ``type``, text that is not UTF-8, or a deadline or place that is not a number.
        """
        texts = _TEXTS
        told: dict[str, object] = {"id": entry_id}
        try:
            for key, value in raw.items():
                if key in texts:
                    told[texts[key]] = value.decode()
                elif key == b"data":
                    told["data"] = value
                elif key in _NUMBERS:
                    told[_NUMBERS[key]] = int(value)
        except ValueError as error:
            raise EnvelopeError(f"a field of the entry cannot be read: {error}") from error
        if not told.get("type"):
            raise EnvelopeError("the entry has no field 'type'")
        return cls.of(told)

    @classmethod
    def of(cls, told: dict[str, object]) -> "Envelope":
        """Return an envelope of fields whose names and types are known to be right; the rest are the class's defaults.

        The dictionary becomes the envelope's own. One is made for each message that is read or written, and the
        constructor of a frozen class takes longer than all its fields do.
        """
        envelope = object.__new__(cls)
        object.__setattr__(envelope, "__dict__", told)
        return envelope


_NUMBERS = {b"deadline": "deadline", b"seq": "seq"}
_TEXTS = {
    field.name.encode(): field.name for field in fields(Envelope) if field.name not in {"deadline", "seq", "data"}
}


def stamp(at: datetime | None = None) -> str:
    """Return a CloudEvents ``time``: RFC 3339 in UTC with milliseconds."""
    return _stamp(int((time() if at is None else at.timestamp()) * 1000))


@lru_cache(maxsize=2)
def _stamp(now: int) -> str:
    """Return a millisecond as text; what one turn of the loop publishes is of the same."""
    seconds, milliseconds = divmod(now, 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    """Return a second as text; the next message is most likely of the same."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
