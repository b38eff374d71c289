"""What was found, how bad it is, and what to do."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: a warning works today, a failure does not."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check; ``next_step`` is empty when there is nothing to do."""

    check: str
    level: Level
    what: str
    next_step: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it for a program."""
        return {name: str(value) for name, value in asdict(self).items()}


def ok(check: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, Level.OK, what)


def skipped(check: str, what: str, next_step: str = "") -> Finding:
    """Return that something could not be looked at."""
    return Finding(check, Level.SKIPPED, what, next_step)


def warning(check: str, what: str, next_step: str) -> Finding:
    """Return that something works and may not for long."""
    return Finding(check, Level.WARNING, what, next_step)


def failure(check: str, what: str, next_step: str) -> Finding:
    """Return that something does not work."""
    return Finding(check, Level.FAILURE, what, next_step)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level; what could not be looked at is no fault."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
