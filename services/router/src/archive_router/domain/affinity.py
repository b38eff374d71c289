"""Send a prompt where its beginning is still in an engine's cache, and a session where it was.

Prompts are compared by hashes of their beginnings at 512, 1024, 2048, ... characters: a request shares a prefix with an
earlier one exactly as far as their hashes agree, and a lookup costs a handful of dictionary reads however many prompts
are known.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from archive_contracts.engine import EngineRegistered

FIRST_MARK = 512
"""Characters of the shortest beginning that counts: what is shorter is read again faster than it is found."""
MOST_MARKS = 7
"""The longest beginning is 32,768 characters."""
LEAST_SHARE = 0.3
"""Share of a prompt that has to be cached for it to decide anything."""
LOAD_BOUND = 1.25
"""A worker takes no directed job while it has more work than this many times its fair share of the pool's.

Mirrokni, Thorup, Zadimoghaddam: Consistent hashing with bounded loads (2018).
"""


def marks_of(body: str) -> tuple[str, ...]:
    """Return the hashes of a request's beginnings, shortest first, from its messages or prompt on."""
    start = max(body.find('"messages"'), 0) or max(body.find('"prompt"'), 0)
    size, digest, found = FIRST_MARK, blake2b(digest_size=8), list[str]()
    begin = start
    while len(found) < MOST_MARKS and start + size <= len(body):
        digest.update(body[begin : start + size].encode("utf-8", "surrogatepass"))
        found.append(digest.hexdigest())
        begin, size = start + size, size * 2
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Match:
    """A worker that has read the beginning of a prompt, and how many characters of it."""

    worker: str
    chars: int


class Prefixes:
    """Which worker read which beginning last; the least recently used are forgotten."""

    def __init__(self, *, most: int = 20_000) -> None:
        self._most = most
        self._readers: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._readers)

    def note(self, marks: Iterable[str], worker: str) -> None:
        """Take in that a worker reads a prompt with these beginnings."""
        for mark in marks:
            self._readers[mark] = worker
            self._readers.move_to_end(mark)
        while len(self._readers) > self._most:
            self._readers.popitem(last=False)

    def match(self, marks: Sequence[str], *, prompt_chars: int) -> Match | None:
        """Return who read the longest known beginning, when it is enough of the prompt to matter."""
        for index in range(len(marks) - 1, -1, -1):
            if worker := self._readers.get(marks[index]):
                chars = FIRST_MARK << index
                return Match(worker, chars) if chars >= LEAST_SHARE * prompt_chars else None
        return None


def home_of(session: str, workers: Sequence[EngineRegistered]) -> str:
    """Return the worker a session belongs to, the same for every router that knows the same workers.

    Rendezvous hashing (Thaler, Ravishankar 1998): a worker that comes or goes moves only its own sessions.
    """
    return max(
        (worker.worker for worker in workers),
        key=lambda name: blake2b(f"{session}\n{name}".encode(), digest_size=8).digest(),
    )


def has_room(worker: EngineRegistered, workers: Sequence[EngineRegistered], *, sent: int = 0) -> bool:
    """Whether a worker may take a directed job: it has a free slot, or no more than its bounded share of the work."""
    mine = worker.busy + sent
    if mine < worker.slots:
        return True
    whole = sum(other.busy for other in workers) + sent + 1
    return mine + 1 <= LOAD_BOUND * whole * worker.slots / sum(other.slots for other in workers)
