"""How long the rest will take, from how long the part so far took."""


def eta_s(*, done: int, total: int, elapsed_s: float) -> float | None:
    """Return seconds left at the pace so far; None before anything is done."""
    if done <= 0 or total <= 0:
        return None
    return elapsed_s / done * max(0, total - done)
