"""The checker finds every planted fault in a history that is right without it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_testkit.chaos.checker import Verdict, check
from archive_testkit.chaos.history import ONCE, Ending, Note, What, from_lines, to_line
from archive_testkit.chaos.schedule import Act

LEASE_S = 3.0
STREAM = "{chat.requests:0}"
WORKERS = ("worker-0.1", "worker-1.1", "worker-2.1")
MOST = 12
TICKS = [[Note(at=number / 10, who=worker, what=What.TICK) for number in range(5 * MOST + 200)] for worker in WORKERS]
"""Most of a history, made once: examples begin with a part of it."""


def verdict(history: Sequence[Note]) -> Verdict:
    ordered = sorted(history, key=lambda note: note.at)
    return check(ordered, lease_s=LEASE_S, attempts=5)


def life_of(message: str, at: float, act: Act, worker: str, entry: str) -> list[Note]:
    """Return the notes of a message that nothing happens to."""

    def note(offset: float, what: What, detail: str = "", who: str = worker) -> Note:
        run = entry if what is What.SEEN else message
        return Note(
            at=at + offset, who=who, what=what, message=message, run=run, detail=detail, since=at + offset - 0.01
        )

    sent = note(0.0, What.SENT, act, "publisher.1")
    accepted = [note(0.02, What.SEEN, STREAM, "nemesis"), note(0.03, What.ACCEPTED, "", "publisher.1")]
    if act is Act.REJECT:
        run = [note(0.05, What.START), note(0.1, What.FINISH, Ending.FAILED)]
        return [sent, *accepted, *run, note(0.2, What.BURIED, "rejected", "nemesis")]
    done = [note(0.05, What.START), note(0.09, What.EFFECT), note(0.1, What.FINISH, Ending.DONE), note(0.12, What.ACK)]
    return [sent, *accepted, *done]


@st.composite
def good_histories(draw: st.DrawFn) -> list[Note]:
    """Draw a history in which every message is handled once, or rejected and buried, by workers that tick."""
    count = draw(st.integers(1, MOST))
    notes = [note for each in TICKS for note in each[: 5 * count + 200]]
    for number in range(count):
        act = draw(st.sampled_from([Act.QUICK, Act.REJECT])) if number else Act.QUICK
        worker, at = draw(st.sampled_from(WORKERS)), draw(st.floats(0, count / 2))
        notes += life_of(f"m{number}", at, act, worker, f"{number}-0")
    return notes


def first(history: Sequence[Note], what: What) -> Note:
    return next(note for note in history if note.what is what and note.message == "m0")


def without(history: Sequence[Note], *whats: What) -> list[Note]:
    return [note for note in history if note.message != "m0" or note.what not in whats]


def other_than(worker: str) -> str:
    return next(name for name in WORKERS if name != worker)


def run_beside(history: Sequence[Note], *, later: float = 0.01) -> list[Note]:
    """Return a second run of m0 by another process, begun while the first one executes."""
    start = first(history, What.START)
    who, began = other_than(start.who), start.at + later
    return [
        Note(at=began, who=who, what=What.START, message="m0", run="beside"),
        Note(at=began + 5, who=who, what=What.FINISH, message="m0", run="beside", detail=Ending.DONE),
    ]


def lose(history: list[Note]) -> list[Note]:
    return without(history, What.START, What.FINISH, What.ACK, What.EFFECT)


def cancel(history: list[Note]) -> list[Note]:
    return [
        replace(note, detail=Ending.CANCELLED) if note.message == "m0" and note.what is What.FINISH else note
        for note in history
    ]


def double(history: list[Note]) -> list[Note]:
    return [*history, *run_beside(history)]


def accept_late(history: list[Note]) -> list[Note]:
    start = first(history, What.START)
    late = Note(at=start.at + 1.2, since=start.at + 1.1, who=start.who, what=What.ACK, message="m0")
    return [*history, *run_beside(history, later=0.5), late]


def effect_late(history: list[Note]) -> list[Note]:
    start = first(history, What.START)
    late = Note(at=start.at + 1.2, since=start.at + 1.1, who=start.who, what=What.EFFECT, message="m0")
    return [*history, *run_beside(history, later=0.5), late]


def bury(history: list[Note]) -> list[Note]:
    return [*history, Note(at=99.0, who="nemesis", what=What.BURIED, message="m0", detail="attempts_exhausted")]


def fail_too_often(history: list[Note]) -> list[Note]:
    extra: list[Note] = []
    for number in range(6):
        begun = Note(at=50.0 + number, who=WORKERS[0], what=What.START, message="m0", run=f"again {number}")
        extra += [begun, replace(begun, at=50.5 + number, what=What.FINISH, detail=Ending.FAILED)]
    return [*history, *extra]


def publish_twice(history: list[Note]) -> list[Note]:
    return [*history, replace(first(history, What.SEEN), run="other-0")]


def delete_silently(history: list[Note]) -> list[Note]:
    at = first(history, What.ACCEPTED).at + 0.001
    return [*lose(history), Note(at=at, since=at - 0.001, who="nemesis", what=What.GONE, took=("m0",))]


def exit_badly(history: list[Note]) -> list[Note]:
    ended = Note(at=90.0, who=WORKERS[0], what=What.DIED, detail="SIGTERM")
    return [*history, ended, Note(at=91.0, who=WORKERS[0], what=What.EXIT, detail="1")]


def turn_around(history: list[Note]) -> list[Note]:
    """Give m0 and a message handled before it one key, the other way around."""
    earlier = life_of("early", -2.0, Act.QUICK, WORKERS[0], "early-0")
    keyed = [
        replace(note, key="k", sequence=1 if note.message == "m0" else 2) if note.what is What.ACCEPTED else note
        for note in [*[n for n in history if n.message == "m0"], *earlier]
    ]
    return [*[note for note in history if note.message != "m0"], *keyed]


def keyed_effects(history: list[Note], *later: tuple[int, int]) -> list[Note]:
    """Give m0 a key, its effect the place 2 and the token 7, and add effects of other places and tokens behind it."""
    effect = replace(first(history, What.EFFECT), key="k", sequence=2, fence=7)
    others = [
        replace(effect, at=effect.at + number, message="other", sequence=sequence, fence=fence)
        for number, (sequence, fence) in enumerate(later, 1)
    ]
    return [*without(history, What.EFFECT), effect, *others]


def turn_effects_around(history: list[Note]) -> list[Note]:
    return keyed_effects(history, (1, 7))


def take_from_stale_owner(history: list[Note]) -> list[Note]:
    return keyed_effects(history, (3, 6))


def through_inbox(history: list[Note]) -> list[Note]:
    ack = replace(first(history, What.ACK), detail=ONCE)
    return [*without(history, What.ACK), ack, Note(at=ack.at, who="publisher.1", what=What.DOUBLED, message="m0")]


def settle_twice(history: list[Note]) -> list[Note]:
    noted = through_inbox(history)
    ack = first(noted, What.ACK)
    return [*noted, replace(ack, at=ack.at + 1, since=ack.at + 0.9, who=other_than(ack.who))]


def run_again(history: list[Note]) -> list[Note]:
    return [*through_inbox(history), *run_beside(history, later=1.0)]


PLANTED: dict[str, list[Callable[[list[Note]], list[Note]]]] = {
    "lost": [lose, cancel],
    "overlap": [double],
    "accepted late": [accept_late, effect_late],
    "false dead letter": [bury],
    "too many attempts": [fail_too_often],
    "published twice": [publish_twice],
    "loss unsaid": [delete_silently],
    "bad exit": [exit_badly],
    "out of order": [turn_around],
    "effect out of order": [turn_effects_around],
    "stale owner": [take_from_stale_owner],
    "effect twice": [settle_twice],
    "run after done": [run_again],
}


@given(good_histories())
def test_right_history_breaks_nothing(history: list[Note]) -> None:
    assert verdict(history).broken == {}
    assert verdict(history).figures["run_twice_share"] == 0


@pytest.mark.parametrize(("rule", "plant"), [(rule, plant) for rule, plants in PLANTED.items() for plant in plants])
@given(history=good_histories())
def test_planted_fault_is_found(rule: str, plant: Callable[[list[Note]], list[Note]], history: list[Note]) -> None:
    found = [violation for violation in verdict(plant(history)).violations if violation.rule == rule]
    assert any(violation.message in {"m0", "early", "other", ""} for violation in found)


@given(good_histories())
def test_orderly_effects_break_nothing(history: list[Note]) -> None:
    planted = keyed_effects(through_inbox(history), (3, 7), (3, 8), (4, 8))
    again = replace(first(history, What.SEEN), run="added-0")
    assert verdict([*planted, again]).broken == {}


@given(good_histories())
def test_dead_process_doubles_nothing(history: list[Note]) -> None:
    start = first(history, What.START)
    left = [note for note in history if note.who != start.who or note.at <= start.at]
    death = Note(at=start.at + 0.001, who=start.who, what=What.DIED, detail="SIGKILL")
    exited = Note(at=start.at + 0.002, who=start.who, what=What.EXIT, detail="-9")
    judged = verdict([*left, death, exited, *run_beside(history, later=2.9)])
    assert not {"overlap", "bad exit"} & set(judged.broken)
    assert "m0" not in {violation.message for violation in judged.violations}
    assert judged.figures["reclaim_max_s"] == pytest.approx(2.899)


@given(good_histories(), st.sampled_from([Act.QUICK, Act.LONG]))
def test_frozen_process_may_end_late(history: list[Note], act: Act) -> None:
    start = first(history, What.START)
    frozen = (start.at, start.at + 20)
    left = [note for note in history if note.who != start.who or not frozen[0] < note.at < frozen[1]]
    thawed = Note(at=frozen[1], who=start.who, what=What.TICK)
    stale = Note(at=frozen[1] + 0.2, who=start.who, what=What.FINISH, message="m0", run="m0", detail=Ending.CANCELLED)
    judged = verdict([*left, thawed, stale, *run_beside(history, later=16.0)])
    assert "overlap" not in judged.broken


@given(good_histories())
def test_death_at_the_thaw_ends_a_freeze(history: list[Note]) -> None:
    start = first(history, What.START)
    left = [note for note in history if note.who != start.who or note.at <= start.at]
    death = Note(at=start.at + 5, who=start.who, what=What.DIED, detail="SIGKILL")
    exited = Note(at=start.at + 5.1, who=start.who, what=What.EXIT, detail="-9")
    assert "overlap" not in verdict([*left, death, exited, *run_beside(history, later=3.5)]).broken


@given(good_histories())
def test_thawed_process_must_stop(history: list[Note]) -> None:
    start = first(history, What.START)
    frozen = (start.at, start.at + 4)
    left = [note for note in history if note.who != start.who or not frozen[0] < note.at < frozen[1]]
    stubborn = Note(at=60.0, who=start.who, what=What.FINISH, message="m0", run="m0", detail=Ending.DONE)
    judged = verdict([*left, Note(at=frozen[1], who=start.who, what=What.TICK), stubborn, *run_beside(left, later=3.5)])
    assert judged.broken["overlap"] >= 1


@given(good_histories())
def test_said_loss_is_excused(history: list[Note]) -> None:
    planted = delete_silently(history)
    gone = next(note for note in planted if note.what is What.GONE)
    judged = verdict([*planted, Note(at=gone.at + 1, who=WORKERS[0], what=What.SAID)])
    assert judged.broken == {}
    assert judged.figures["taken_with_stream"] == 1


@given(good_histories())
def test_notes_survive_their_file(history: list[Note]) -> None:
    lines = [to_line(note) for note in history]
    assert from_lines(lines) == history
    assert from_lines([*lines, b'{"at": 1.0, "wh']) == history


@pytest.mark.parametrize(
    ("strike", "failures", "broken"),
    [
        (Note(at=1.2, who=WORKERS[0], what=What.DIED, detail="SIGKILL"), 6, False),
        (Note(at=0.9, who="nemesis", what=What.FAULT, detail="kill server 1 0.5"), 6, False),
        (Note(at=0.9, who="nemesis", what=What.FAULT, detail="isolate worker 0 4.4"), 6, False),
        (Note(at=0.9, who="nemesis", what=What.FAULT, detail="isolate worker 0 4.4"), 7, True),
        (Note(at=0.9, who="nemesis", what=What.FAULT, detail="isolate worker 1 4.4"), 6, True),
        (Note(at=9.0, who="nemesis", what=What.FAULT, detail="kill server 1 0.5"), 6, True),
    ],
)
def test_only_a_struck_first_run_is_uncounted(strike: Note, failures: int, broken: bool) -> None:
    history = [strike]
    for number in range(failures):
        who = WORKERS[0] if number == 0 else WORKERS[2]
        begun = Note(at=1.0 + number, who=who, what=What.START, message="m", run=f"{number}")
        history += [begun, replace(begun, at=1.1 + number, what=What.FINISH, detail=Ending.FAILED)]
    found = {violation.rule for violation in verdict(history).violations}
    assert ("too many attempts" in found) is broken
