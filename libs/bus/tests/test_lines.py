"""Lines of entries by key, and shares of partitions: the pure part of order by key."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from archive_bus._lines import Lines, place_of
from archive_bus._partitions import shares

MEMBERS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True)


class LinesMachine(RuleBasedStateMachine):
    """A line is a sorted list for each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = Lines()
        self.model: defaultdict[str, list[str]] = defaultdict(list)

    @rule(key=st.sampled_from("abc"), ms=st.integers(0, 30), seq=st.integers(0, 3))
    def arrive(self, key: str, ms: int, seq: int) -> None:
        entry = f"{ms}-{seq}"
        known = next((name for name, ids in self.model.items() if entry in ids), key)
        if entry not in self.model[known]:
            self.model[known] = sorted([*self.model[known], entry], key=place_of)
        assert self.lines.arrive(key, entry) == (self.model[known][0] == entry)

    @rule(ms=st.integers(0, 30), seq=st.integers(0, 3))
    def settle(self, ms: int, seq: int) -> None:
        entry = f"{ms}-{seq}"
        nothing: list[str] = []
        key, line = next(((key, ids) for key, ids in self.model.items() if entry in ids), (None, nothing))
        if line:
            line.remove(entry)
        assert self.lines.settled(entry) == key
        assert key is None or self.lines.head(key) == (line[0] if line else None)

    @invariant()
    def one_of_each_key_has_its_turn(self) -> None:
        assert sorted(self.lines.first()) == sorted(ids[0] for ids in self.model.values() if ids)


TestLines = LinesMachine.TestCase


@given(st.integers(0, 40), MEMBERS)
def test_every_partition_has_one_owner(partitions: int, members: list[str]) -> None:
    owned = shares(partitions, members)
    assert sorted(each for has in owned.values() for each in has) == list(range(partitions))
    assert max(map(len, owned.values())) - min(map(len, owned.values())) <= 1


@given(st.integers(1, 40), MEMBERS)
def test_all_members_agree_on_the_shares(partitions: int, members: list[str]) -> None:
    assert shares(partitions, members[::-1]) == shares(partitions, members)


def test_nobody_owns_nothing() -> None:
    assert shares(4, []) == {}
