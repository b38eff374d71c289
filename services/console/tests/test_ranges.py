"""Which part of a file is asked for, and whether the asker has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.ranges import known, part

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 5-1000", (5, 100)),
        ("bytes=99-99", (99, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=-0", (100, 100)),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes= -", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_range_is_read(header: str, wanted: tuple[int, int] | None) -> None:
    assert part(header, "", TAG, size=100) == wanted


@given(st.text() | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(0, 10**12))
def test_no_range_leaves_the_file(header: str, size: int) -> None:
    wanted = part(header, "", TAG, size=size)
    assert wanted is None or 0 <= wanted[0] <= wanted[1] <= size


@pytest.mark.parametrize(("condition", "wanted"), [(TAG, (1, 2)), ('"other"', None), ("W/" + TAG, None), ("", (1, 2))])
def test_range_of_another_version_is_none(condition: str, wanted: tuple[int, int] | None) -> None:
    assert part("bytes=1-1", condition, TAG, size=10) == wanted


@pytest.mark.parametrize(
    ("header", "same"),
    [(TAG, True), ("W/" + TAG, True), ('"x", "abc"', True), ("*", True), ('"x"', False), ("", False)],
)
def test_known_version_is_recognized(header: str, same: bool) -> None:
    assert known(header, TAG) is same


@given(st.text())
def test_any_condition_is_understood(header: str) -> None:
    assert known(header, TAG) in {True, False}
