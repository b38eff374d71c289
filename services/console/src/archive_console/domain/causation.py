"""What caused what: the messages of one correlation as a tree."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from archive_contracts.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Link:
    """A message, where it stands, and how many came before it in its chain of causes."""

    depth: int
    key: str
    entry: str
    envelope: Envelope


def tree(found: Iterable[tuple[str, str, Envelope]]) -> list[Link]:
    """Return the messages, given as (key, entry, envelope) oldest first, each below the one that caused it.

    One whose cause is not among them stands at the root.
    """
    told = list(found)
    places = {envelope.id: place for place, (_, _, envelope) in reversed(list(enumerate(told)))}
    caused: defaultdict[int | None, list[int]] = defaultdict(list)
    for place, (_, _, envelope) in enumerate(told):
        caused[places.get(envelope.causation)].append(place)
    shown: dict[int, Link] = {}
    # Ids can be forged: messages that caused each other in a circle are reached from the oldest of them.
    for root in [*caused[None], *range(len(told))]:
        waiting = [(0, root)]
        while waiting:
            depth, place = waiting.pop()
            if place not in shown:
                shown[place] = Link(depth, *told[place])
                waiting += [(depth + 1, below) for below in reversed(caused[place])]
    return list(shown.values())
