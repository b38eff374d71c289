"""How long the rest of a phase will take, from how long its part so far took."""

from archive_librarian.domain.extraction import Phase, Progress


class Pace:
    """Watches the progress of one document; times are those of any one clock, in seconds."""

    def __init__(self, began_at: float) -> None:
        self._phase = Phase.EXTRACTING
        self._began_at = began_at

    def eta_s(self, progress: Progress, now: float) -> float | None:
        """Return what is left of the phase; None before anything of it is done."""
        if progress.phase != self._phase:
            self._phase, self._began_at = progress.phase, now
        if progress.done <= 0 or progress.total <= 0:
            return None
        return (now - self._began_at) / progress.done * max(0, progress.total - progress.done)
