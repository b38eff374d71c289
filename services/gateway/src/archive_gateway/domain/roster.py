"""The engines that live, as their heartbeats tell."""

from dataclasses import dataclass

from archive_contracts.engine import EngineLeft, EngineRegistered

MISSED_BEATS = 3
"""Heartbeats that may be missing before a worker counts as gone."""


@dataclass(frozen=True, slots=True)
class Member:
    """A living engine worker; ``since`` is seconds since the epoch, ``seen`` on the roster's own clock."""

    worker: EngineRegistered
    since: float
    seen: float


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be asked for now, and who serves it."""

    id: str
    owned_by: str
    context: int
    since: float
    engines: tuple[str, ...]


class Roster:
    """A fold of the engines' events. ``now`` is seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def hear(self, event: EngineRegistered | EngineLeft, *, now: float, at: float) -> None:
        """Take in one event that was sent ``at`` seconds since the epoch."""
        if isinstance(event, EngineLeft):
            self._members.pop(event.worker, None)
            return
        known = self._members.get(event.worker)
        self._members[event.worker] = Member(event, since=known.since if known else at, seen=now)
        self._forget(now)

    def engines(self, now: float) -> tuple[Member, ...]:
        """Return the living workers by pool and name."""
        alive = [member for member in self._members.values() if _lives(member, now)]
        return tuple(sorted(alive, key=lambda member: (member.worker.pool, member.worker.worker)))

    def offers(self, now: float) -> dict[str, Offer]:
        """Return the models of healthy engines by their id."""
        found: dict[str, Offer] = {}
        for member in self.engines(now):
            if not member.worker.healthy:
                continue
            for card in member.worker.models:
                known = found.get(card.id)
                names = known.engines if known else ()
                found[card.id] = Offer(
                    id=card.id,
                    owned_by=card.owned_by,
                    context=max(card.context, known.context if known else 0),
                    since=min(member.since, known.since) if known else member.since,
                    engines=tuple(dict.fromkeys((*names, member.worker.engine))),
                )
        return found

    def _forget(self, now: float) -> None:
        for name in [name for name, member in self._members.items() if now - member.seen > 60]:
            del self._members[name]


def _lives(member: Member, now: float) -> bool:
    return now - member.seen <= member.worker.heartbeat_s * MISSED_BEATS
