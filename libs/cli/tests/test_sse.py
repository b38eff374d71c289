from hypothesis import given
from hypothesis import strategies as st

from archive_cli.sse import Event, parse

lines = st.text(alphabet=st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)))
words = st.text(alphabet="abcdefgh-", min_size=1, max_size=10)
events = st.builds(Event, name=words, data=st.lists(lines, min_size=1, max_size=3).map("\n".join), id=words)


@given(sent=st.lists(events, max_size=5))
def test_what_is_sent_is_read(sent: list[Event]) -> None:
    written: list[str] = []
    for event in sent:
        data = [f"data: {line}" for line in event.data.split("\n")]
        written += [": ping", "", f"event: {event.name}", f"id: {event.id}", *data, ""]
    assert list(parse(written)) == sent


@given(noise=st.lists(lines, max_size=20))
def test_noise_adds_nothing_to_events(noise: list[str]) -> None:
    said = {line.partition(":")[2].removeprefix(" ") for line in noise}
    for event in parse(noise):
        assert {*event.data.split("\n"), event.name, event.id} <= said | {"message", ""}


def test_cut_off_event_is_dropped() -> None:
    assert list(parse(["data: whole", "", "data: cut"])) == [Event("message", "whole")]


def test_one_blank_after_colon_is_removed() -> None:
    assert list(parse(["data:  two", ""])) == [Event("message", " two")]


def test_id_holds_until_changed() -> None:
    found = list(parse(["id: 7", "data: a", "", "data: b", ""]))
    assert [event.id for event in found] == ["7", "7"]
