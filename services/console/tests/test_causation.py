"""Messages below what caused them."""

from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.causation import MOST_ALIKE, folded, tree
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


def test_many_alike_are_counted_around_the_one_that_is_looked_at() -> None:
    links = tree([message("a"), *(message(f"b{number}", "a") for number in range(500)), message("c", "b499")])
    shown = [(link.entry, link.alike) for link in folded(links, "b250")]
    assert shown == [("a", 0), ("b0", 0), ("b1", 0), ("b2", 0), ("b250", 495), ("b499", 0), ("c", 0)]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdefgh")), max_size=12), st.sampled_from("abcdef")
)
def test_nothing_is_lost_by_counting(drawn: list[tuple[str, str]], entry: str) -> None:
    links = tree([message(name, cause) for name, cause in drawn])
    shown = folded(links, entry)
    assert sum(1 + link.alike for link in shown) == len(links)
    assert {entry} & {link.entry for link in links} <= {link.entry for link in shown}
    assert len(links) > MOST_ALIKE or shown == links
