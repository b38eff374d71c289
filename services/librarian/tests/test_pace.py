"""What is left of a phase is told from the pace of that phase alone."""

from archive_librarian.domain.extraction import Phase, Progress
from archive_librarian.domain.pace import Pace


def test_nothing_done_tells_nothing() -> None:
    pace = Pace()
    assert pace.eta_s(Progress(Phase.EXTRACTING, 0, 0), 101.0) is None
    assert pace.eta_s(Progress(Phase.EXTRACTING, 0, 10), 102.0) is None


def test_rest_takes_as_long_as_the_part_so_far() -> None:
    pace = Pace()
    pace.eta_s(Progress(Phase.EXTRACTING, 0, 0), 100.0)
    assert pace.eta_s(Progress(Phase.EXTRACTING, 2, 10), 103.0) == 12.0
    assert pace.eta_s(Progress(Phase.EXTRACTING, 10, 10), 110.0) == 0.0


def test_next_phase_begins_anew() -> None:
    pace = Pace()
    pace.eta_s(Progress(Phase.EXTRACTING, 0, 10), 100.0)
    pace.eta_s(Progress(Phase.EXTRACTING, 10, 10), 400.0)
    assert pace.eta_s(Progress(Phase.CHUNKING, 0, 1000), 400.0) is None
    assert pace.eta_s(Progress(Phase.CHUNKING, 250, 1000), 401.0) == 3.0


def test_phase_first_seen_in_its_middle_is_judged_by_what_is_seen_of_it() -> None:
    pace = Pace()
    assert pace.eta_s(Progress(Phase.CHUNKING, 250, 1000), 400.0) is None
    assert pace.eta_s(Progress(Phase.CHUNKING, 300, 1000), 401.0) == 14.0
