"""How a service uses the bus."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opentelemetry.trace import Tracer


class Bind(Protocol):
    """Puts the identity of a message into the log context."""

    def __call__(self, *, correlation: str, message_id: str, tenant: str) -> None:
        """Set context variables: it is called in the context of the message, which ends with its handler."""
        ...


def _unbound(*, correlation: str, message_id: str, tenant: str) -> None:
    del correlation, message_id, tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When publishers are refused with Busy.

    ``depth`` is how many entries of a stream may wait for one group; ``memory`` the share of the server's memory (its
    ``maxmemory``, or that of its machine) above which nothing but outputs of running handlers is taken, which have to
    pass or nothing would ever be acknowledged. ``patience_s`` is how long a publisher waits for room before it is
    refused.
    """

    depth: int = 2_000_000
    memory: float = 0.85
    patience_s: float = 0.0


class Durability(StrEnum):
    """What an accepted publish survives; checked against the settings of the bus server."""

    MEMORY = "memory"
    """A crash of a service."""
    AOF = "aof"
    """A crash of the server too: it writes to disk before it answers (``appendfsync always``)."""
    REPLICATED = "replicated"
    """The loss of the server: a replica has what was accepted (``WAIT 1``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """How a service uses the bus.

    ``grace_s`` is how long a drain lets running handlers finish; ``patience_s`` how long a publish waits for a server
    that is away; ``limits`` say when it is refused; ``durability`` what it survives where the URL does not say;
    ``bind`` puts a message's identity into the log context while its handler runs.
    """

    service: str
    grace_s: float = 10.0
    patience_s: float = 30.0
    tracer: Tracer | None = None
    bind: Bind = _unbound
    limits: Limits = Limits()
    durability: Durability = Durability.MEMORY
