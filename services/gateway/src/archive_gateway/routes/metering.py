"""What a request may use, and what it did use."""

import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from archive_bus import RequestFailed
from archive_contracts.base import Spent
from archive_contracts.chat import Usage
from archive_gateway.domain.errors import Headers, LimitReached
from archive_gateway.domain.guardrails import Guardrails
from archive_gateway.domain.quota import Grant, Quota, Reservation, limit_headers
from archive_gateway.domain.usage import Account, Counts, UsageSheet, tokens_in
from archive_gateway.routes.visit import Ticket

ANSWER_TOKENS = 256
"""What an answer is taken to need when its request does not say."""
RATE_S = 60.0
LONGER_S = 30.0
"""How much longer than its request a place in flight is kept for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a request is about to use, as far as its head tells. ``answer_tokens`` is 0 when nothing is generated."""

    model: str
    prompt_chars: int
    answer_tokens: int
    timeout_s: float

    @property
    def tokens(self) -> int:
        """Tokens to reserve."""
        return tokens_in(self.prompt_chars) + self.answer_tokens


class Meter:
    """What one request used. An answer that broke off is measured by what came of it.

    ``handed_on`` says that somebody else books it.
    """

    __slots__ = ("_demand", "_model", "_pieces", "_spent", "_usage", "handed_on", "headers")

    def __init__(self, demand: Demand, headers: Headers) -> None:
        self._demand = demand
        self._pieces = 0
        self._model = ""
        self._usage: Usage | None = None
        self._spent: Spent | None = None
        self.handed_on = False
        self.headers = headers

    def piece(self) -> None:
        """Note that a piece of the answer came, about a token."""
        self._pieces += 1

    def done(self, model: str, usage: Usage) -> None:
        """Note that the answer is complete."""
        self._model = model
        self._usage = usage

    def broke(self, spent: Spent | None) -> None:
        """Note that the answer broke off, and what its engine had used by then, when that is known."""
        if spent:
            self._model, self._spent = spent.model, spent

    def counts(self) -> Counts | None:
        """Return what was used, None when nothing was."""
        if self._usage is None:
            if self._spent:
                return cut_counts(self._spent)
            if not self._pieces:
                return None
            prompt = tokens_in(self._demand.prompt_chars)
            return Counts(requests=1, prompt_tokens=prompt, completion_tokens=self._pieces, cut=1, estimated=1)
        used = self._usage
        if used.prompt_tokens or used.completion_tokens or used.total_tokens:
            prompt = used.prompt_tokens or max(0, used.total_tokens - used.completion_tokens)
            return Counts(requests=1, prompt_tokens=prompt, completion_tokens=used.completion_tokens)
        prompt = tokens_in(self._demand.prompt_chars)
        return Counts(requests=1, prompt_tokens=prompt, completion_tokens=self._pieces, estimated=1)

    @property
    def model(self) -> str:
        """The model that answered, or the one that was asked for."""
        return self._model or self._demand.model


class Metering:
    """Admits requests by what their key may use, and books what they used."""

    def __init__(self, *, guardrails: Guardrails, quota: Quota, sheet: UsageSheet) -> None:
        self.guardrails = guardrails
        self._quota = quota
        self._sheet = sheet
        self._running: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self._answered: deque[tuple[float, int]] = deque(maxlen=10_000)

    @property
    def running(self) -> int:
        """Requests in flight in this process."""
        return self._running.total()

    @property
    def active_keys(self) -> int:
        """Keys with a request in flight in this process."""
        return len(self._running)

    @asynccontextmanager
    async def admitted(self, ticket: Ticket, demand: Demand) -> AsyncGenerator[Meter, None]:
        """Let a request run, and book what it used when it has ended, however that was.

        Raises:
            LimitReached: a limit of its key.
            Crowded: the guardrail of this process.
        """
        caller = ticket.caller
        self.guardrails.check_concurrent(self._running[caller.key])
        self._running[caller.key] += 1
        reservation: Reservation | None = None
        meter = Meter(demand, ())
        try:
            if caller.limited:
                reservation = await self._reserve(ticket, demand, meter)
            yield meter
        except RequestFailed as failed:
            meter.broke(failed.problem().spent)
            raise
        finally:
            self._leave(caller.key)
            counts = meter.counts()
            if reservation:
                self._quota.settle(reservation, tokens=counts.total_tokens if counts else 0)
            if counts:
                self._answered.append((time.monotonic(), counts.completion_tokens))
            if counts and not meter.handed_on:
                self._sheet.book(Account(_today(), ticket.tenant, caller.key, meter.model), counts)

    def book(self, tenant: str, key: str, model: str, used: Counts) -> None:
        """Book what a stream used that another process began."""
        self._sheet.book(Account(_today(), tenant, key, model), used)

    def tokens_a_second(self) -> float:
        """Return how many tokens were answered a second, over the last minute."""
        now = time.monotonic()
        while self._answered and self._answered[0][0] < now - RATE_S:
            self._answered.popleft()
        return round(sum(tokens for _, tokens in self._answered) / RATE_S, 1)

    def _leave(self, key: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]

    async def _reserve(self, ticket: Ticket, demand: Demand, meter: Meter) -> Reservation:
        caller = ticket.caller
        wanted = Reservation(
            id=ticket.mark,
            key=caller.key,
            limits=caller.limits,
            tokens=demand.tokens,
            life_s=demand.timeout_s + LONGER_S,
        )
        grant: Grant = await self._quota.reserve(wanted)
        meter.headers = ticket.limits = limit_headers(caller.limits, grant)
        if grant.rule:
            self.turned_away[grant.rule] += 1
            limit = getattr(caller.limits, grant.rule)
            raise LimitReached(grant.rule, limit=limit, wait_s=grant.wait_s)
        return wanted


def cut_counts(spent: Spent) -> Counts:
    """Return what an answer that broke off has used, by the word of whoever spoke to its engine."""
    return Counts(
        requests=1,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        cut=1,
        estimated=int(spent.estimated),
    )


def _today() -> str:
    return datetime.fromtimestamp(time.time(), UTC).date().isoformat()
