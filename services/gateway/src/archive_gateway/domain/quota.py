"""What a key may use in a minute: token buckets that refill steadily, and a number of requests in flight.

A bucket holds a minute's allowance. What a request will cost is not known before its answer: an estimate is reserved,
and settled by what it really took. One that costs more than a minute's allowance passes when the bucket is full, and
the debt, ten minutes' allowance at most, is waited out by those after it.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from archive_contracts.keys import KeyLimits

MOST_DEBT = 10
"""In allowances of a minute. An engine that counts absurdly must not lock a key for years."""
Rule = Literal["", "requests_per_minute", "tokens_per_minute", "concurrent"]
CROWDED_S = 1.0
"""When to look again for a free place among the requests in flight: nobody can know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to a reservation: allowed, or the rule that forbids it and for how long. -1 is no limit."""

    rule: Rule = ""
    wait_s: float = 0.0
    requests_left: int = -1
    requests_reset_s: float = 0.0
    tokens_left: int = -1
    tokens_reset_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request is about to use. ``life_s`` is after when its place in flight is free at the latest."""

    id: str
    key: str
    limits: KeyLimits
    tokens: int
    life_s: float


class Quota(Protocol):
    """Counts what keys use."""

    async def reserve(self, wanted: Reservation) -> Grant:
        """Take what a request needs, or nothing when a limit forbids it. Never raises: limits fail soft."""
        ...

    def settle(self, taken: Reservation, *, tokens: int, requests: int = 1) -> None:
        """Give the place in flight back, and the tokens that were reserved and not used; soon, not now.

        What went beyond the one request that was reserved is taken, into debt if need be, as far as `MOST_DEBT`.
        """
        ...


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float

    def refill(self, capacity: int, now: float) -> None:
        self.take(-max(0.0, now - self.at) * capacity / 60, capacity)
        self.at = now

    def take(self, amount: float, capacity: int) -> None:
        """Take from what there is, or give back when it is negative; full is full, and debt has its end."""
        self.level = max(-float(MOST_DEBT * capacity), min(float(capacity), self.level - amount))


@dataclass(slots=True)
class _State:
    requests: _Bucket
    tokens: _Bucket
    held: dict[str, float] = field(default_factory=dict[str, float])


class LocalQuota:
    """The same rules for this process alone, for when the state server is away. ``now`` is in seconds."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def reserve(self, wanted: Reservation, *, now: float) -> Grant:
        """Take what a request needs, or nothing."""
        limits = wanted.limits
        state = self._state(wanted, now)
        rule, wait_s = _verdict(state, wanted)
        if not rule:
            state.requests.level -= 1 if limits.requests_per_minute else 0
            state.tokens.level -= needed(wanted)
            state.held[wanted.id] = now + wanted.life_s
        return Grant(
            rule=rule,
            wait_s=wait_s,
            requests_left=_left(state.requests, limits.requests_per_minute),
            requests_reset_s=_full_in(state.requests, limits.requests_per_minute),
            tokens_left=_left(state.tokens, limits.tokens_per_minute),
            tokens_reset_s=_full_in(state.tokens, limits.tokens_per_minute),
        )

    def learn(self, wanted: Reservation, grant: Grant, *, now: float) -> None:
        """Take over what all gateways have left a key: alone this one goes on from there, not from a full minute."""
        limits = wanted.limits
        if not (limits.requests_per_minute or limits.tokens_per_minute):
            return
        state = self._state(wanted, now)
        state.requests.level = _level(limits.requests_per_minute, grant.requests_reset_s)
        state.tokens.level = _level(limits.tokens_per_minute, grant.tokens_reset_s)

    def settle(self, taken: Reservation, *, tokens: int, requests: int = 1, now: float) -> None:
        """Give back the place, and the difference of the tokens and requests; once."""
        state = self._state(taken, now)
        if state.held.pop(taken.id, None) is None:
            return
        if tpm := taken.limits.tokens_per_minute:
            state.tokens.take(tokens - needed(taken), tpm)
        if rpm := taken.limits.requests_per_minute:
            state.requests.take(beyond(requests), rpm)

    def _state(self, wanted: Reservation, now: float) -> _State:
        limits = wanted.limits
        full = (float(limits.requests_per_minute or 0), float(limits.tokens_per_minute or 0))
        state = self._states.setdefault(wanted.key, _State(_Bucket(full[0], now), _Bucket(full[1], now)))
        state.requests.refill(limits.requests_per_minute or 0, now)
        state.tokens.refill(limits.tokens_per_minute or 0, now)
        state.held = {name: until for name, until in state.held.items() if until > now}
        return state


def needed(wanted: Reservation) -> int:
    """Return the tokens to reserve: never more than a full bucket holds, or the request could never pass."""
    capacity = wanted.limits.tokens_per_minute
    return min(wanted.tokens, capacity) if capacity else 0


def beyond(requests: int) -> int:
    """Return how many requests were made beside the one that was reserved."""
    return max(0, requests - 1)


def _verdict(state: _State, wanted: Reservation) -> tuple[Rule, float]:
    limits = wanted.limits
    if limits.concurrent and len(state.held) >= limits.concurrent:
        return "concurrent", CROWDED_S
    if limits.requests_per_minute and state.requests.level < 1:
        return "requests_per_minute", (1 - state.requests.level) * 60 / limits.requests_per_minute
    if limits.tokens_per_minute and state.tokens.level < needed(wanted):
        return "tokens_per_minute", (needed(wanted) - state.tokens.level) * 60 / limits.tokens_per_minute
    return "", 0.0


def _left(bucket: _Bucket, capacity: int | None) -> int:
    return max(0, int(bucket.level)) if capacity else -1


def _level(capacity: int | None, reset_s: float) -> float:
    """Return the level of a bucket that is full in ``reset_s``."""
    return (capacity or 0) * (1 - reset_s / 60)


def _full_in(bucket: _Bucket, capacity: int | None) -> float:
    return (capacity - bucket.level) * 60 / capacity if capacity else 0.0


def limit_headers(limits: KeyLimits, grant: Grant) -> list[tuple[bytes, bytes]]:
    """Return OpenAI's ``x-ratelimit-*`` for the limits that there are."""
    found: list[tuple[bytes, bytes]] = []
    for name, limit, left, reset_s in (
        (b"requests", limits.requests_per_minute, grant.requests_left, grant.requests_reset_s),
        (b"tokens", limits.tokens_per_minute, grant.tokens_left, grant.tokens_reset_s),
    ):
        if limit is not None:
            found += [
                (b"x-ratelimit-limit-" + name, b"%d" % limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % left),
                (b"x-ratelimit-reset-" + name, duration(reset_s).encode()),
            ]
    return found


def duration(seconds: float) -> str:
    """Return a time as OpenAI's headers write it: ``30ms``, ``1.5s``, ``6m0s``."""
    millis = max(0, round(seconds * 1000))
    if millis < 1000:
        return f"{millis}ms"
    minutes, rest = divmod(millis / 1000, 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
