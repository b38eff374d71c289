from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archive_engine.domain.windows import windows


@given(count=st.integers(0, 5000), size=st.integers(1, 300), overlap=st.integers(0, 299))
def test_windows_cover_every_token(count: int, size: int, overlap: int) -> None:
    assume(overlap < size)
    cuts = windows(count, size=size, overlap=overlap)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == count
    for (begin, end), (after, _) in pairwise(cuts):
        assert end - after == overlap
        assert after > begin
    assert all(end - begin <= size for begin, end in cuts)


@given(count=st.integers(0, 5000))
def test_windows_are_equally_long(count: int) -> None:
    lengths = [end - begin for begin, end in windows(count, size=254, overlap=32)]
    assert max(lengths) - min(lengths) <= 1


def test_overlap_must_leave_room() -> None:
    with pytest.raises(ValueError, match="overlap"):
        windows(10, size=4, overlap=4)
