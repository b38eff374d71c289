"""The envelope of a message: plain stream fields, readable with ``XRANGE``.

Names follow CloudEvents where it has one (``id source type time subject``); the rest is what a hop needs to trace,
expire, isolate and answer the message.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime

INLINE_LIMIT = 256 * 1024
"""Bytes of ``data`` above which the bus stores a blob and sends its reference."""

BLOB_PREFIX = b"blob:sha256:"
"""How ``data`` begins when it is a blob reference. JSON never begins so."""


class EnvelopeError(ValueError):
    """A stream entry is not an envelope; it goes to the dead letters with this text."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
        return {name: value for name in _NAMES if (value := getattr(self, name))}

    @classmethod
    def from_fields(cls, raw: Mapping[bytes, bytes], *, entry_id: str = "") -> "Envelope":
        """Read an envelope from a stream entry.

        Only ``type`` is needed, so that foreign publishers can stay simple; ``id`` falls back to the entry's own.

        Raises:
            EnvelopeError: no ``type``, text that is not UTF-8, or a deadline or place that is not a number.
        """
        if not raw.get(b"type"):
            raise EnvelopeError("the entry has no field 'type'")
        envelope = object.__new__(cls)
        read = raw.get
        try:
            for put, key, default in _TEXTS:
                value = read(key)
                put(envelope, default if value is None else value.decode())
            for put, key in _NUMBERS:
                put(envelope, int(read(key, b"0")))
        except ValueError as error:
            raise EnvelopeError(f"a field of the entry cannot be read: {error}") from error
        _PUT_DATA(envelope, read(b"data", b"{}"))
        if b"id" not in raw:
            _PUT_ID(envelope, entry_id)
        return envelope


_NAMES = tuple(field.name for field in fields(Envelope))
# An envelope is read for each message, and the constructor of a frozen class takes longer than all its fields do: they
# are put into their slots past it.
_PUT: Mapping[str, Callable[[Envelope, object], None]] = {name: vars(Envelope)[name].__set__ for name in _NAMES}
_PUT_ID, _PUT_DATA = _PUT["id"], _PUT["data"]
_NUMBERS = tuple((_PUT[name], name.encode()) for name in ("deadline", "seq"))
_TEXTS = tuple(
    (_PUT[field.name], field.name.encode(), "" if field.default is MISSING else field.default)
    for field in fields(Envelope)
    if field.name not in {"deadline", "seq", "data"}
)


def stamp(at: datetime | None = None) -> str:
    """Return a CloudEvents ``time``: RFC 3339 in UTC with milliseconds."""
    return (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
