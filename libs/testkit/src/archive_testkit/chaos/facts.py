"""A history, sorted by what is asked of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from archive_testkit.chaos.history import Ending, Note, What

INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: by which rule, for which message, and how it shows."""

    rule: str
    message: str
    detail: str


@dataclass(slots=True)
class Run:
    """One execution of a message's handler; ``ended`` is infinite when nobody saw its end."""

    message: str
    who: str
    began: float
    ended: float = INFINITE
    ending: Ending | None = None


@dataclass(slots=True)
class Facts:
    """Notes by message and by process."""

    sent: dict[str, Note] = field(default_factory=dict[str, Note])
    accepted: dict[str, Note] = field(default_factory=dict[str, Note])
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict[str, list[Run]](list))
    taken: list[Note] = field(default_factory=list[Note])
    """Acknowledgements and outputs that the server took."""
    doubled: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """How often another entry of a message was added."""
    buried: dict[str, str] = field(default_factory=dict[str, str])
    entries: dict[tuple[str, str], set[str]] = field(
        default_factory=lambda: defaultdict[tuple[str, str], set[str]](set)
    )
    """Entries that carried a message, by stream and message."""
    died: dict[str, Note] = field(default_factory=dict[str, Note])
    ticks: dict[str, list[float]] = field(default_factory=lambda: defaultdict[str, list[float]](list))
    gone: list[Note] = field(default_factory=list[Note])
    said: list[float] = field(default_factory=list[float])
    exits: list[Note] = field(default_factory=list[Note])
    faults: list[Note] = field(default_factory=list[Note])

    def done_at(self, message: str) -> float:
        """When the first run that did its work ended; infinite when none did."""
        return min((run.ended for run in self.runs.get(message, ()) if run.ending is Ending.DONE), default=INFINITE)

    def taken_with_stream(self) -> set[str]:
        """Messages that lay on a stream when it was deleted and were not done by then."""
        return {message for note in self.gone for message in note.took if self.done_at(message) > note.at}


def gather(history: Sequence[Note]) -> Facts:
    """Sort the notes by what is asked of them."""
    facts = Facts()
    open_runs: dict[tuple[str, str], Run] = {}
    for note in history:
        match note.what:
            case What.START:
                run = Run(note.message, note.who, note.at)
                facts.runs[note.message].append(run)
                open_runs[note.who, note.run] = run
            case What.FINISH:
                if run := open_runs.pop((note.who, note.run), None):
                    run.ended, run.ending = note.at, Ending(note.detail)
            case _ if note.message:
                _gather_message(facts, note)
            case _:
                _gather_process(facts, note)
    for run in open_runs.values():
        if death := facts.died.get(run.who):
            run.ended = death.at
    return facts


def _gather_message(facts: Facts, note: Note) -> None:
    match note.what:
        case What.SENT:
            facts.sent.setdefault(note.message, note)
        case What.ACCEPTED:
            facts.accepted.setdefault(note.message, note)
        case What.SEEN:
            facts.entries[note.detail, note.message].add(note.run)
        case What.DOUBLED:
            facts.doubled[note.message] += 1
        case What.BURIED:
            facts.buried[note.message] = note.detail
        case _:
            facts.taken.append(note)


def _gather_process(facts: Facts, note: Note) -> None:
    match note.what:
        case What.TICK:
            facts.ticks[note.who].append(note.at)
        case What.DIED:
            facts.died.setdefault(note.who, note)
        case What.GONE:
            facts.gone.append(note)
        case What.SAID:
            facts.said.append(note.at)
        case What.EXIT:
            facts.exits.append(note)
        case _:
            facts.faults.append(note)
