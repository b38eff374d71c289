"""What a request may use, and what it did use."""

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType

from archive_bus import BusError
from archive_contracts.agents import ModelUse
from archive_contracts.base import Spent
from archive_contracts.chat import Usage
from archive_gateway.domain.caller import Caller
from archive_gateway.domain.errors import GatewayError, Headers, LimitReached
from archive_gateway.domain.guardrails import Guardrails
from archive_gateway.domain.history import Traffic
from archive_gateway.domain.quota import Grant, Quota, Reservation, limit_headers
from archive_gateway.domain.usage import Account, Counts, UsageSheet, tokens_in
from archive_gateway.routes.visit import Ticket

Booking = tuple[str, Counts]
"""A model, and what was used of it."""
ANSWER_TOKENS = 256
"""What an answer is taken to need when its request does not say."""
RATE_S = 60.0
DAY_S = 86_400
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

    ``answered`` says that its client has all of it, ``failed`` that it never will; ``handed_on`` that somebody else
    books what it used.
    """

    __slots__ = (
        "_demand",
        "_model",
        "_pieces",
        "_spent",
        "_usage",
        "_used",
        "answered",
        "failed",
        "handed_on",
        "headers",
    )

    def __init__(self, demand: Demand, headers: Headers) -> None:
        self._demand = demand
        self._pieces = 0
        self._model = ""
        self._usage: Usage | None = None
        self._spent: Spent | None = None
        self._used: Sequence[ModelUse] | None = None
        self.answered = self.failed = False
        self.handed_on = False
        self.headers = headers

    def piece(self) -> None:
        """Note that a piece of the answer came, about a token."""
        self._pieces += 1

    def done(self, model: str, usage: Usage) -> None:
        """Note that the answer is complete."""
        self.answered = True
        self._model = model
        self._usage = usage

    def broke(self, spent: Spent | None) -> None:
        """Note that the answer broke off, and what its engine had used by then, when that is known."""
        self.failed = True
        if spent:
            self._model, self._spent = spent.model, spent

    def told(self, used: Sequence[ModelUse], *, answered: bool = True) -> None:
        """Note what a run asked of models, in its own words; ``answered``: its client has heard its end."""
        self.answered = answered
        self._used = used

    def bookings(self) -> Sequence[Booking]:
        """Return what is to be booked: one entry for each model that was used."""
        if self._used is not None:
            return bookings_of(self._used)
        counts = self.counts()
        return ((self._model or self._demand.model, counts),) if counts else ()

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


@dataclass(slots=True)
class Bill:
    """A request that was let in, to be concluded once. ``began`` is on the clock of ``time.perf_counter``."""

    caller: Caller
    meter: Meter
    reservation: Reservation | None
    began: float


class Metering:
    """Admits requests by what their key may use, and books what they used."""

    def __init__(self, guardrails: Guardrails, *, quota: Quota, sheet: UsageSheet, traffic: Traffic) -> None:
        self.guardrails = guardrails
        self.traffic = traffic
        self._quota = quota
        self._sheet = sheet
        self._running: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self._answered: deque[tuple[float, int]] = deque(maxlen=10_000)

    @property
    def running(self) -> int:
        """Requests in flight in this process."""
        return self._running.total()

    def admitted(self, ticket: Ticket, demand: Demand) -> "Admission":
        """Return a block in which a request may run; what it used is booked when it has ended, however that was.

        Raises, when the block begins:
            LimitReached: a limit of its key.
            Crowded: the guardrail of this process.
        """
        return Admission(self, ticket, demand)

    async def admit(self, ticket: Ticket, demand: Demand) -> Bill:
        """Let a request run; its bill has to be concluded. Raises as ``admitted`` does."""
        caller = ticket.caller
        self.guardrails.check_concurrent(self._running[caller.key])
        self._running[caller.key] += 1
        meter, reservation = Meter(demand, ()), None
        try:
            if caller.limited:
                reservation = await self._reserve(ticket, demand, meter)
        except BaseException:  # also when cancelled: there is no bill that would give the place back
            self._leave(caller.key)
            raise
        return Bill(caller, meter, reservation, ticket.began)

    def conclude(self, bill: Bill) -> None:
        """Give back what a request did not need, and book what it used."""
        meter, key = bill.meter, bill.caller.key
        self._leave(key)
        bookings = meter.bookings()
        written = sum(counts.completion_tokens for _, counts in bookings)
        if bill.reservation:
            tokens = sum(counts.total_tokens for _, counts in bookings)
            requests = sum(counts.requests for _, counts in bookings)
            self._quota.settle(bill.reservation, tokens=tokens, requests=requests)
        if bookings:
            self._answered.append((time.monotonic(), written))
        if meter.answered or meter.failed:
            self.traffic.note(time.perf_counter() - bill.began, ok=not meter.failed, tokens=written)
        if not meter.handed_on:
            for model, counts in bookings:
                self._sheet.book(Account(_today(), bill.caller.tenant, key, model), counts)

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


class Admission:
    """A request from its admission to the end of its bill."""

    # A class: a generator with its decorator costs several times as much, and each request has one.
    __slots__ = ("_bill", "_demand", "_metering", "_ticket")

    def __init__(self, metering: Metering, ticket: Ticket, demand: Demand) -> None:
        self._metering = metering
        self._ticket = ticket
        self._demand = demand

    async def __aenter__(self) -> Meter:
        self._bill = await self._metering.admit(self._ticket, self._demand)
        return self._bill.meter

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GatewayError | BusError):
            self._bill.meter.broke(error.problem().spent)
        self._metering.conclude(self._bill)


def bookings_of(used: Sequence[ModelUse]) -> Sequence[Booking]:
    """Return what a run has used as it is booked."""
    return [(use.model, Counts(**use.model_dump(exclude={"model"}))) for use in used]


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
    return _day(int(time.time() // DAY_S))


@lru_cache(maxsize=2)
def _day(number: int) -> str:
    """Return a day since the epoch as text; the next request is most likely of the same."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
