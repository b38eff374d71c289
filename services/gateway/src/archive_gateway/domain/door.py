"""Who may come in: the key, the host name, the page that sent a request."""

import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from archive_contracts.keys import KeyBook
from archive_gateway.domain.caller import ALL_SCOPES, OPEN, Caller
from archive_gateway.domain.errors import ForeignPage, Unavailable, WrongKey

PROBES = frozenset({"/livez", "/readyz", "/health"})
"""Asked by machines that hold no key and use whatever address they were given."""

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address can be reached from this machine only."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class KeyRing(Protocol):
    """The keys that were created."""

    def book(self) -> KeyBook | None:
        """Return them, or None while nobody knows: then nobody comes in who does not hold the operator's own key."""
        ...


class Guard:
    """The rules of the door.

    Without any key the gateway is open to this machine, and to nothing else; the first key that is created closes it
    for good. ``key`` is the operator's own, from the environment; ``clock`` gives seconds since the epoch.
    """

    def __init__(self, ring: KeyRing, *, key: str, tenant: str, clock: Callable[[], float]) -> None:
        self._ring = ring
        self._key = key.encode()
        self._clock = clock
        self._operator = Caller(key="gateway", tenant=tenant, scopes=ALL_SCOPES)
        self._anybody = Caller(key=OPEN, tenant=tenant, scopes=ALL_SCOPES)

    def admit(self, path: str, headers: Mapping[bytes, bytes]) -> Caller:
        """Let a request pass, or say why not. ``headers`` has lower-case names.

        Raises:
            WrongKey: a key is needed and the request carries none that is valid.
            ForeignPage: no key is needed and the request was made under a foreign name, or by a foreign page.
            Unavailable: whether a key is needed is not known yet.
        """
        if path in PROBES:
            return self._anybody
        book = self._ring.book()
        if not self._key and book is not None and not book.keys:
            _check_names(headers)
            return self._anybody
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip() if scheme.lower() == b"bearer" else b""
        # Compared as bytes, in constant time, also when there is nothing to compare.
        if hmac.compare_digest(given, self._key) and self._key:
            return self._operator
        if book is None:
            raise Unavailable("The keys have not been read yet.", next_step="Try again in a moment.")
        return self._holder(book, given)

    def _holder(self, book: KeyBook, given: bytes) -> Caller:
        found = book.find(given) if given else None
        if found is None:
            raise WrongKey(
                "The API key is missing or wrong.",
                next_step="Send the header 'Authorization: Bearer KEY'; 'archive keys create' makes a key.",
            )
        key, digest = found
        now = self._clock()
        if key.valid(digest, now):
            return Caller(key=key.id, tenant=key.tenant, scopes=frozenset(key.scopes), limits=key.limits)
        why = "was revoked" if key.revoked_at is not None else "has expired" if key.expired(now) else "was rotated"
        raise WrongKey(f"The API key ending in ...{key.hint} {why}.", next_step="Ask the operator for a new key.")


def _check_names(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what a hostile web page can make a browser on this machine send.

    A name that resolves to loopback (DNS rebinding) shows in Host; a form posted across sites shows in Origin.
    """
    host = headers.get(b"host")
    if host is not None and not is_loopback(_host_of(host.decode("latin-1"))):
        raise ForeignPage(
            f"The host {host.decode('latin-1')[:100]!r} is not a name of this machine's loopback interface.",
            next_step="Use 127.0.0.1 or localhost, or set GATEWAY_API_KEY to serve under other names.",
            code="forbidden_host",
        )
    origin = headers.get(b"origin")
    if origin is not None and not is_loopback(urlsplit(origin.decode("latin-1")).hostname or ""):
        raise ForeignPage(
            f"Pages of the origin {origin.decode('latin-1')[:100]!r} may not use this gateway.",
            next_step="Set GATEWAY_API_KEY and send the key.",
        )


def _host_of(value: str) -> str:
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0]


def request_id(offered: bytes | None, made: str) -> str:
    """Return the caller's own request id when it is harmless, else the one made here."""
    if offered is None:
        return made
    text = offered.decode("latin-1")
    return text if _ID.fullmatch(text) else made
