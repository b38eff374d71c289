"""The other workers of a pool: who is gone and left a lane of its own behind, who says that the engine rests."""

from dataclasses import dataclass

from archive_contracts.engine import EngineLeft, EngineRegistered

MISSED_BEATS = 3
"""Heartbeats that may be missing before a worker counts as gone."""
DEAF_S = 2.0
"""Who hears events hears at least every second that there are none."""
ABANDONED_S = 300.0
"""A worker that was silent for longer left nothing that is still within its deadline."""


@dataclass(slots=True)
class _Peer:
    pool: str
    seen: float
    heartbeat_s: float
    left: bool = False


class Peers:
    """A fold of the engines' events for one worker. Times are seconds since the epoch, by the server's clock."""

    def __init__(self, *, worker: str, pool: str) -> None:
        self._worker = worker
        self._pool = pool
        self._peers: dict[str, _Peer] = {}
        self._heard_at = self._deaf_until = 0.0

    def hear(self, event: EngineRegistered | EngineLeft, *, at: float) -> None:
        """Take in one event."""
        if event.worker == self._worker or event.pool != self._pool:
            return
        if isinstance(event, EngineRegistered):
            if event.directed:
                self._peers[event.worker] = _Peer(event.pool, at, event.heartbeat_s)
        elif peer := self._peers.get(event.worker):
            peer.seen, peer.left = at, True

    def hearing(self, now: float) -> None:
        """Take in that events can be heard: who was silent while they could not may live."""
        if self._heard_at and now - self._heard_at > DEAF_S:
            self._deaf_until = now
        self._heard_at = now

    def knows(self, worker: str) -> bool:
        """Whether a worker was not found gone, or was heard again since."""
        return worker in self._peers

    def orphans(self, now: float) -> list[str]:
        """Return the workers found gone since the last call, each once."""
        gone = [
            name
            for name, peer in self._peers.items()
            if peer.left or now - max(peer.seen, self._deaf_until) > peer.heartbeat_s * MISSED_BEATS
        ]
        recent = [name for name in gone if now - self._peers[name].seen < ABANDONED_S]
        for name in gone:
            del self._peers[name]
        return recent
