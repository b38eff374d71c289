"""An envelope's fields travel as UTF-8, whatever they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_bus import PayloadError, wire
from archive_contracts.envelope import Envelope

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(tenant=TEXT.filter(bool), correlation=TEXT, trace=TEXT, data=st.binary(min_size=1), deadline=st.integers(0))
def test_fields_survive_the_wire(tenant: str, correlation: str, trace: str, data: bytes, deadline: int) -> None:
    sent = Envelope(
        id="i", type="t", tenant=tenant, correlation=correlation, tracestate=trace, data=data, deadline=deadline
    )
    assert Envelope.from_fields(wire(sent)) == sent


@given(TEXT, st.characters(categories=["Cs"]), TEXT)
def test_surrogates_never_reach_the_server(before: str, surrogate: str, after: str) -> None:
    with pytest.raises(PayloadError):
        wire(Envelope(id="i", type="t", tenant=f"{before}{surrogate}{after}"))
