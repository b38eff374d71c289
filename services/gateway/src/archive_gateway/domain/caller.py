"""Who asks, and what that allows."""

from dataclasses import dataclass

from archive_contracts.keys import KeyLimits, KeyScope
from archive_gateway.domain.errors import NotAllowed

ALL_SCOPES: frozenset[KeyScope] = frozenset({"inference", "platform", "operator"})
OPEN = "open"
"""The key of those who need none."""
UNLIMITED = KeyLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The holder of a key, or whoever came through an open door. ``key`` is the key's id, never the key."""

    key: str
    tenant: str
    scopes: frozenset[KeyScope]
    limits: KeyLimits = UNLIMITED

    @property
    def limited(self) -> bool:
        """Whether its requests are counted against anything."""
        return self.limits is not UNLIMITED and self.limits != UNLIMITED

    @property
    def nameless(self) -> bool:
        """Whether it came through the open door, as any program of this machine may."""
        return self.key == OPEN

    def demand_name(self, what: str) -> None:
        """Raise NotAllowed for whoever came through the open door: ``what`` is only for who holds a key."""
        if self.nameless:
            raise NotAllowed(
                f"Without any key this gateway is open to every program of this machine; none of them may {what}.",
                next_step="Use the command 'archive', or set GATEWAY_API_KEY and send it.",
                code="operator_key_needed",
            )

    def demand(self, scope: KeyScope) -> None:
        """Raise NotAllowed unless the key has the scope."""
        if scope not in self.scopes:
            raise NotAllowed(
                f"This key lacks the scope {scope!r}; it has {', '.join(sorted(self.scopes)) or 'none'}.",
                next_step=f"Use a key that was created with --scope {scope}.",
            )
