"""From a message to its handler: what surrounds each run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Tracer

from archive_bus._answers import Answers
from archive_bus._apart import begin_apart
from archive_bus._delivery import Delivery, Handler, OnDead, Origin
from archive_bus._errors import WrongReturn
from archive_bus._handling import Work
from archive_bus._held import Held
from archive_bus._lease import Lease
from archive_bus._options import BusOptions
from archive_bus._payload import Payloads
from archive_bus._tracing import receiving
from archive_contracts.base import Failed, Message, Problem
from archive_contracts.envelope import Envelope
from archive_contracts.streams import Stream

if TYPE_CHECKING:
    from archive_bus._bus import Bus


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """Makes the work of a subscription: the handlers it names, within spans, log context and deliveries."""

    bus: "Bus"
    options: BusOptions
    tracer: Tracer | None
    answers: Answers
    payloads: Payloads

    def on(
        self,
        stream: Stream,
        handlers: Mapping[type[Message], Handler[Any]],
        on_dead: Mapping[type[Message], OnDead[Any]],
        inbox: timedelta | None,
        fence: int,
    ) -> Work:
        """Return the work on a stream; ``fence`` is the token of the partition's owner."""
        bind, tracer = self.options.bind, self.tracer

        async def within(envelope: Envelope, message: Message, held: Held, act: Handler[Any] | None = None) -> None:
            act = act or handlers[type(message)]
            message_id = envelope.id
            bind(correlation=envelope.correlation or message_id, message_id=message_id, tenant=envelope.tenant)
            delivery = Delivery(self.bus, envelope, message, held)
            if fence:
                delivery.fence = fence
            if held.entry.redelivered:
                delivery.go_on_behind(await self.answers.told(envelope))
            if tracer is None:
                returned: object = await act(delivery)
            else:
                with receiving(tracer, stream, envelope) as traceparent:
                    delivery.hand_on(traceparent)
                    returned = await act(delivery)
            if delivery.unsaid:
                await delivery.unsaid
            if returned is not None:
                raise WrongReturn(f"the handler of {envelope.type} returned a {type(returned).__name__}")

        async def bury(envelope: Envelope, message: Message, held: Held, problem: Problem) -> None:
            if react := on_dead.get(type(message)):
                dying = within(envelope, message, held, lambda delivery: react(delivery, problem))
                if rest := begin_apart(dying):
                    await rest

        return Work(handlers=handlers, run=within, refuse=self._refuse, bury=bury, payloads=self.payloads, inbox=inbox)

    async def _refuse(self, envelope: Envelope, problem: Problem, lease: Lease) -> None:
        if envelope.reply or envelope.log:
            origin = Origin(tenant=envelope.tenant, reply=envelope.reply, log=envelope.log)
            await self.bus.reply(Failed(problem=problem), origin=origin, lease=lease)
