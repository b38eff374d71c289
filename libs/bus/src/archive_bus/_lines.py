"""Whose turn it is: the entries of each key, one after the other."""

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence

Place = tuple[int, int]


def place_of(entry_id: str) -> Place:
    """Return an entry's id in an order that compares."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq or 0)


class Lines:
    """Entries that are not settled, in a line for each key and there in the order of their ids."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[tuple[Place, str]]] = defaultdict(list)
        self._keys: dict[str, str] = {}

    def arrive(self, key: str, entry_id: str) -> bool:
        """Put an entry into its line; one that comes back keeps its place. Returns whether it is its turn."""
        if entry_id not in self._keys:
            self._keys[entry_id] = key
            insort(self._lines[key], (place_of(entry_id), entry_id))
        return self._lines[self._keys[entry_id]][0][1] == entry_id

    def settled(self, entry_id: str) -> str | None:
        """Take an entry out of its line. Returns the line's key, None when it stood in none."""
        key = self._keys.pop(entry_id, None)
        if key is None:
            return None
        line = self._lines[key]
        line.remove((place_of(entry_id), entry_id))
        if not line:
            del self._lines[key]
        return key

    def head(self, key: str) -> str | None:
        """Return whose turn it is in a line, None when nobody waits there."""
        return self._lines[key][0][1] if key in self._lines else None

    def first(self) -> Sequence[str]:
        """Return the entries whose turn it is."""
        return [line[0][1] for line in self._lines.values()]
