"""The envelope on the wire."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.envelope import Envelope, EnvelopeError

TEXTS = [field.name for field in fields(Envelope) if field.name not in {"deadline", "seq", "data"}]


def wire(envelope: Envelope) -> dict[bytes, bytes]:
    return {
        name.encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in envelope.to_fields().items()
    }


ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))


@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, ANY_TEXT)), st.integers(0, 2**53), st.integers(0, 2**53))
def test_any_unicode_round_trips(texts: dict[str, str], deadline: int, seq: int) -> None:
    # Absent fields read back as their defaults, so these two are never empty.
    filled: dict[str, Any] = texts | {"type": texts["type"] or "t", "tenant": texts["tenant"] or "default"}
    envelope = Envelope(deadline=deadline, seq=seq, **filled)
    assert Envelope.from_fields(wire(envelope)) == envelope


def test_foreign_entry_needs_type_only() -> None:
    envelope = Envelope.from_fields({b"type": b"document.ingest.v1"}, entry_id="1-0")
    assert (envelope.id, envelope.tenant, envelope.data) == ("1-0", "default", b"{}")


@pytest.mark.parametrize("raw", [{}, {b"data": b"{}"}, {b"type": b"\xff"}, {b"type": b"t", b"deadline": b"soon"}])
def test_unreadable_entry_is_refused(raw: dict[bytes, bytes]) -> None:
    with pytest.raises(EnvelopeError):
        Envelope.from_fields(raw)
