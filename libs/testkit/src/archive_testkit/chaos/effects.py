"""What keys and inboxes promise about effects: in order, by the newest owner, once. Pure, as the checker."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from archive_testkit.chaos.facts import INFINITE, Facts, Run, Violation
from archive_testkit.chaos.history import ONCE, Note, What


def _by_key(facts: Facts) -> Iterator[tuple[str, Sequence[Note]]]:
    """Yield the outputs of each key in the order in which the server took them."""
    keyed: dict[str, list[Note]] = defaultdict(list)
    for note in facts.taken:
        if note.what is What.EFFECT and note.key:
            keyed[note.key].append(note)
    yield from keyed.items()


def effects_out_of_order(facts: Facts) -> Iterable[Violation]:
    """An output of a message that the server took after one of a later message of the same key."""
    for key, notes in _by_key(facts):
        for one, two in pairwise(notes):
            if two.sequence < one.sequence:
                yield Violation("effect out of order", two.message, f"key {key}: {two.sequence} after {one.sequence}")


def stale_owners(facts: Facts) -> Iterable[Violation]:
    """An output that the server took from an owner of a partition after one of a newer owner."""
    for key, notes in _by_key(facts):
        for one, two in pairwise(notes):
            if two.fence < one.fence:
                yield Violation("stale owner", two.message, f"key {key}: token {two.fence} after {one.fence}")


def _noted(facts: Facts) -> Iterator[tuple[str, Sequence[Note]]]:
    """Yield the acknowledgements of each message that the inbox took."""
    noted: dict[str, list[Note]] = defaultdict(list)
    for note in facts.taken:
        if note.what is What.ACK and note.detail == ONCE:
            noted[note.message].append(note)
    yield from noted.items()


def effect_twice(facts: Facts) -> Iterable[Violation]:
    """A message that an inbox took as handled twice."""
    for message, notes in _noted(facts):
        if len(notes) > 1:
            yield Violation("effect twice", message, f"taken from {', '.join(note.who for note in notes)}")


Spans = Sequence[tuple[float, float]]


def run_after_done(facts: Facts, executing: Mapping[str, Sequence[tuple[Run, Spans]]]) -> Iterable[Violation]:
    """A run of a message that began after the inbox had it as handled, and executed with every means to know."""
    for message, notes in _noted(facts):
        done = min((note.at for note in notes), default=INFINITE)
        for run, spans in executing.get(message, ()):
            if run.began > done and spans:
                yield Violation("run after done", message, f"{run.who} began {run.began - done:.3f} s after")
