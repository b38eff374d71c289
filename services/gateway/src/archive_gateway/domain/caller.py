"""Who asks, and what that allows."""

from dataclasses import dataclass

from archive_contracts.keys import KeyLimits, KeyScope
from archive_gateway.domain.errors import NotAllowed

ALL_SCOPES: frozenset[KeyScope] = frozenset({"inference", "platform", "operator"})
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
        return self.limits != UNLIMITED

    def demand(self, scope: KeyScope) -> None:
        """Raise NotAllowed unless the key has the scope."""
        if scope not in self.scopes:
            raise NotAllowed(
                f"This key lacks the scope {scope!r}; it has {', '.join(sorted(self.scopes)) or 'none'}.",
                next_step=f"Use a key that was created with --scope {scope}.",
            )
