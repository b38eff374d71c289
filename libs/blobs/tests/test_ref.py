"""The one spelling of a reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_blobs import BlobError, BlobRef, BlobRefInvalid

HEX = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)


@given(sha256=HEX, size=st.integers(0, 10**18))
def test_printed_reference_parses(sha256: str, size: int) -> None:
    ref = BlobRef(sha256, size)
    assert BlobRef.parse(str(ref)) == ref


@given(st.text())
def test_arbitrary_text_is_refused(text: str) -> None:
    with pytest.raises(BlobRefInvalid) as refused:
        BlobRef.parse(text)
    assert isinstance(refused.value, BlobError)


@pytest.mark.parametrize(
    "text",
    [
        f"blob:sha256:{'a' * 64}:01",
        f"blob:sha256:{'A' * 64}:1",
        f"blob:sha256:{'a' * 64}:-1",
        f"blob:sha256:{'a' * 64}:1\n",
        f"blob:sha256:{'a' * 64}:١",
        f"blob:md5:{'a' * 64}:1",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(BlobRefInvalid):
        BlobRef.parse(text)


@pytest.mark.parametrize(("sha256", "size"), [("../../etc/passwd", 1), ("a" * 63 + "/", 1), ("a" * 64, -1)])
def test_unsafe_parts_are_refused(sha256: str, size: int) -> None:
    with pytest.raises(BlobRefInvalid):
        BlobRef(sha256, size)
