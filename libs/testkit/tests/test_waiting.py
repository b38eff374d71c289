"""A wait ends when it may, and fails when it must."""

import itertools

import pytest

from archive_testkit.waiting import becomes, eventually, wait_for


async def test_wait_ends_when_it_is_true() -> None:
    plain, awaited = itertools.count(), itertools.count()

    async def told() -> int:
        return next(awaited)

    await eventually(lambda: next(plain) == 2)
    await eventually(told)
    await becomes(told, 4)
    assert (next(plain), next(awaited)) == (3, 5)


async def test_vain_wait_fails() -> None:
    async def odd() -> bool:
        return False

    with pytest.raises(AssertionError, match=r"not within 0\.1 s"):
        await eventually(odd, within=0.1)
    with pytest.raises(AssertionError, match="False, not True"):
        await becomes(odd, True, within=0.1)
    with pytest.raises(AssertionError, match=r"not within 0\.1 s"):
        wait_for(lambda: False, within=0.1)


def test_failures_are_waited_out_where_allowed() -> None:
    answers = iter((OSError("away"), OSError("away"), True))

    def asked() -> object:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    wait_for(asked, every_s=0.01, despite=(OSError,))
    with pytest.raises(StopIteration):
        wait_for(asked, every_s=0.01, despite=(OSError,))
