"""Messages below what caused them."""

from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.causation import tree
from archive_contracts.envelope import Envelope


def message(name: str, cause: str = "") -> tuple[str, str, Envelope]:
    return "{chat.requests:0}", name, Envelope(id=name, type="t", causation=cause)


def test_each_stands_below_its_cause() -> None:
    found = [message("a"), message("b", "a"), message("c", "a"), message("d", "b"), message("e", "gone")]
    assert [(link.depth, link.entry) for link in tree(found)] == [(0, "a"), (1, "b"), (2, "d"), (1, "c"), (0, "e")]


def test_order_of_coming_does_not_matter() -> None:
    found = [message("b", "a"), message("a")]
    assert [(link.depth, link.entry) for link in tree(found)] == [(0, "a"), (1, "b")]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdefgh")), max_size=12))
def test_everything_is_shown_once(drawn: list[tuple[str, str]]) -> None:
    found = [message(name, cause) for name, cause in drawn]
    assert sorted(link.entry for link in tree(found)) == sorted(name for name, _ in drawn)
