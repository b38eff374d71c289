"""How long the rest of a phase will take, from how long the part of it that was seen took."""

from archive_librarian.domain.extraction import Phase, Progress


class Pace:
    """Watches the progress of one document; times are those of any one clock, in seconds."""

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._began_at = 0.0
        self._done_before = 0

    def eta_s(self, progress: Progress, now: float) -> float | None:
        """Return what is left of the phase; None before it was seen to move."""
        if progress.phase != self._phase:
            self._phase, self._began_at, self._done_before = progress.phase, now, progress.done
        done = progress.done - self._done_before
        if done <= 0:
            return None
        return (now - self._began_at) / done * max(0, progress.total - progress.done)
