"""What caused what: the messages of one correlation as a tree."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from archive_contracts.envelope import Envelope

MOST_ALIKE = 3
"""Messages of one kind and one cause that are shown one after another: a long text is sent as hundreds."""


@dataclass(frozen=True, slots=True)
class Link:
    """A message, where it stands, and how many came before it in its chain of causes.

    ``alike`` is how many of its kind follow it, with the same cause, that are not shown.
    """

    depth: int
    key: str
    entry: str
    envelope: Envelope
    alike: int = 0


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


def folded(links: Sequence[Link], entry: str) -> list[Link]:
    """Return a tree without the many that are like those before them; the message ``entry`` is never left out."""
    kept: list[Link] = []
    # Those that have caused something end what is alike: what stands below them is theirs alone.
    ends = [link.depth < below.depth for link, below in pairwise(links)] + [False]
    runs = groupby(
        enumerate(links),
        key=lambda each: (each[1].depth, each[1].key, each[1].envelope.type, each[0] if ends[each[0]] else -1),
    )
    for _, run in runs:
        alike = [link for _, link in run]
        shown = [link for place, link in enumerate(alike) if place < MOST_ALIKE or link.entry == entry]
        kept += [*shown[:-1], replace(shown[-1], alike=len(alike) - len(shown))]
    return kept
