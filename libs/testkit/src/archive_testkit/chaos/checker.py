"""From notes to a verdict. Pure: no clock, no process, no server.

A run of a message counts as executing from its start to its end, while its process does: not after the process died,
nor while its loop did not turn. A process whose loop stood still for long, or whose group was deleted under it, may
have lost its messages without a way to know; its runs count again when it has had the time to notice. What the server
accepts from a process that stood still is judged without that grace: there is nothing it could do with what it lost.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from archive_testkit.chaos.effects import effect_twice, effects_out_of_order, run_after_done, stale_owners
from archive_testkit.chaos.facts import INFINITE, Facts, Run, Violation, gather
from archive_testkit.chaos.figures import figures
from archive_testkit.chaos.history import Ending, Note
from archive_testkit.chaos.schedule import DEADLY, Act

ARRIVES_S = 1.0
"""How soon after a run has ended its start has come to the server, unless something strikes."""
OUTAGE_S = 15.0
"""For how long a strike at the server, or at the way there, may keep it away on a crowded machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a history proves. ``figures`` are counts, shares and seconds by name."""

    violations: Sequence[Violation]
    figures: Mapping[str, float]

    @property
    def broken(self) -> Mapping[str, int]:
        """How often each broken rule was broken."""
        counts: dict[str, int] = defaultdict(int)
        for violation in self.violations:
            counts[violation.rule] += 1
        return counts


def check(history: Sequence[Note], *, lease_s: float, attempts: int) -> Verdict:
    """Return what a finished history proves: every promise that was broken, and the figures reached."""
    facts = gather(history)
    executing = {message: [(run, spans(run, facts, lease_s)) for run in runs] for message, runs in facts.runs.items()}
    violations = [
        *lost(facts),
        *overlaps(executing),
        *accepted_late(facts, executing),
        *buried_wrongly(facts),
        *failed_too_often(facts, attempts),
        *published_twice(facts),
        *out_of_order(facts),
        *effects_out_of_order(facts),
        *stale_owners(facts),
        *effect_twice(facts),
        *run_after_done(facts, executing),
        *unsaid(facts),
        *bad_exits(facts),
    ]
    return Verdict(violations=violations, figures=figures(facts, lease_s))


Span = tuple[float, float]


def spans(run: Run, facts: Facts, lease_s: float) -> list[Span]:
    """Return when a run was executing with every means to know that it still should."""
    notice_s = lease_s * 0.6  # a renewal comes every third of the lease; the rest is for a busy machine
    end = min(run.ended, _death(facts, run.who))
    death = facts.died.get(run.who)
    # A process that is killed as it thaws has not turned once more.
    turns = [*facts.ticks.get(run.who, ()), *((death.at,) if death else ())]
    pauses: list[Span] = [
        (before, after + notice_s) for before, after in silences(turns, longer_than=lease_s / 2) if after > run.began
    ]
    # Who is cut off when an operator takes the group away can know by the end of its lease.
    pauses += [(note.since, note.at + lease_s) for note in facts.gone if note.at > run.began]
    left: list[Span] = [(run.began, end)]
    for pause_from, pause_to in pauses:
        left = [
            piece
            for start, stop in left
            for piece in ((start, min(stop, pause_from)), (max(start, pause_to), stop))
            if piece[0] < piece[1]
        ]
    return left


def _death(facts: Facts, who: str) -> float:
    death = facts.died.get(who)
    return death.at if death and death.detail == "SIGKILL" else INFINITE


def silences(ticks: Sequence[float], *, longer_than: float) -> list[Span]:
    """Return when a process's loop did not turn for longer than some seconds."""
    return [(before, after) for before, after in pairwise(ticks) if after - before > longer_than]


Executing = Mapping[str, Sequence[tuple[Run, Sequence[Span]]]]


def lost(facts: Facts) -> Iterable[Violation]:
    """Accepted, and neither handled to its end, nor buried, nor taken by the deletion of its stream."""
    excused = facts.taken_with_stream()
    for message, note in facts.accepted.items():
        if facts.done_at(message) == INFINITE and message not in facts.buried and message not in excused:
            runs = len(facts.runs.get(message, ()))
            yield Violation("lost", message, f"accepted at {note.at:.3f}, {runs} runs, none of them done")


def overlaps(executing: Executing) -> Iterable[Violation]:
    """Two runs of one message that executed at the same time."""
    for message, runs in executing.items():
        for number, (one, one_spans) in enumerate(runs):
            for other, other_spans in runs[number + 1 :]:
                if shared := _shared(one_spans, other_spans):
                    yield Violation(
                        "overlap",
                        message,
                        f"{one.who} and {other.who} both ran it for {shared[1] - shared[0]:.3f} s from {shared[0]:.3f}",
                    )


def _shared(ones: Sequence[Span], others: Sequence[Span]) -> Span | None:
    for one in ones:
        for other in others:
            start, stop = max(one[0], other[0]), min(one[1], other[1])
            if start < stop:
                return (start, stop)
    return None


def accepted_late(facts: Facts, executing: Executing) -> Iterable[Violation]:
    """An acknowledgement or an output the server took from a process after another one had the message.

    Another one has it when its run began after the accepted one's and executes while the command is sent.
    """
    for note in facts.taken:
        runs = executing.get(note.message, ())
        mine = max((run.began for run, _ in runs if run.who == note.who and run.began <= note.since), default=INFINITE)
        for other, other_spans in runs:
            within = any(start < note.since < stop for start, stop in other_spans)
            if other.who != note.who and other.began > mine and within and not _regrouped(facts, mine, other.began):
                yield Violation(
                    "accepted late",
                    note.message,
                    f"{note.what} of {note.who} sent at {note.since:.3f}, {other.who} had it since {other.began:.3f}",
                )


def _regrouped(facts: Facts, began: float, again: float) -> bool:
    """Whether an operator took the group away between two starts: no lease was lost, all leases were."""
    return any(began < note.at and note.since < again for note in facts.gone)


def buried_wrongly(facts: Facts) -> Iterable[Violation]:
    """A dead letter that nothing in the message calls for, or with the wrong cause."""
    for message, cause in facts.buried.items():
        sent = facts.sent.get(message)
        wanted = DEADLY.get(Act(sent.detail)) if sent else None
        if wanted is None:
            yield Violation("false dead letter", message, f"{sent.detail if sent else 'unknown'}: {cause}")
        elif cause != wanted:
            yield Violation("wrong cause", message, f"{cause}, not {wanted}")


def failed_too_often(facts: Facts, attempts: int) -> Iterable[Violation]:
    """More failed runs than the stream allows each entry; a group that begins anew counts anew.

    A first delivery does not wait until its run is noted: when its process or its way to the server is struck before
    that, it has run uncounted.
    """
    for message, runs in facts.runs.items():
        failed = [run for run in runs if run.ending is Ending.FAILED]
        renewed = any(runs[0].began < note.at < runs[-1].ended for note in facts.gone)
        entries = 1 + facts.doubled.get(message, 0)
        allowed = attempts * entries + sum(_struck(run, facts) for run in runs[:entries])
        if len(failed) > allowed and not renewed:
            yield Violation("too many attempts", message, f"{len(failed)} failed runs, {allowed} allowed")


def _struck(run: Run, facts: Facts) -> bool:
    """Whether what a run sent to the server when it began may never have come there."""
    until = run.ended + ARRIVES_S
    if (death := facts.died.get(run.who)) and death.at < until:
        return True
    number = run.who.partition(".")[0].rpartition("-")[2]
    strikes = [note.detail.split() for note in facts.faults if run.began - OUTAGE_S < note.at < until]
    return any(words[:2] == ["kill", "server"] or words[1:3] == ["worker", number] for words in strikes)


def published_twice(facts: Facts) -> Iterable[Violation]:
    """One message id on two entries of its stream, beyond those that were added past the bus."""
    for (stream, message), entries in facts.entries.items():
        if len(entries) > 1 + facts.doubled.get(message, 0):
            yield Violation("published twice", message, f"{stream}: {', '.join(sorted(entries))}")


def out_of_order(facts: Facts) -> Iterable[Violation]:
    """Within a key, a message whose handling began before an earlier one of that key was done."""
    keyed: dict[str, list[Note]] = defaultdict(list)
    excused = facts.taken_with_stream() | set(facts.buried)
    for note in facts.accepted.values():
        if note.key and note.message not in excused:
            keyed[note.key].append(note)
    for key, notes in keyed.items():
        notes.sort(key=lambda note: note.sequence)
        for earlier, later in pairwise(notes):
            began = min((run.began for run in facts.runs.get(later.message, ())), default=INFINITE)
            if began < facts.done_at(earlier.message):
                yield Violation("out of order", later.message, f"key {key}: began before {earlier.message} was done")


def unsaid(facts: Facts) -> Iterable[Violation]:
    """A stream was deleted with unfinished messages on it, and no process said so."""
    for note in facts.gone:
        unfinished = [message for message in note.took if facts.done_at(message) > note.at]
        if unfinished and not any(at > note.since for at in facts.said):
            yield Violation("loss unsaid", unfinished[0], f"{len(unfinished)} messages went with the stream")


def bad_exits(facts: Facts) -> Iterable[Violation]:
    """A process that ended with an error, or unasked."""
    for note in facts.exits:
        death = facts.died.get(note.who)
        if note.detail != "0" and (death is None or death.detail != "SIGKILL"):
            yield Violation("bad exit", "", f"{note.who} ended with {note.detail}")
