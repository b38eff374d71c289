"""Who may come in: sessions, the proof that a form is ours, and the names of this machine."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from archive_console.domain.errors import Refused

SESSION_S = 7 * 24 * 3600.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Whose page this is. ``until`` is seconds since the epoch."""

    tenant: str
    operator: bool
    nonce: str
    until: float


class Signer:
    """Signs sessions and forms with a secret that only the console knows."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, session: Session) -> str:
        """Return a session as the value of a cookie: its fields, and the HMAC-SHA256 of them."""
        fields = [session.tenant, session.operator, session.nonce, session.until]
        body = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")
        return f"{body.decode()}.{self._mac(b'session', body)}"

    def open(self, cookie: str, *, now: float) -> Session | None:
        """Return the session of a cookie; None when it is forged, damaged or over."""
        body, _, mac = cookie.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(b"session", body.encode()).encode()):
            return None
        try:
            fields = cast("list[Any]", json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
            tenant, operator, nonce, until = fields
        except (ValueError, binascii.Error):
            return None
        session = Session(tenant=str(tenant), operator=bool(operator), nonce=str(nonce), until=float(until))
        return session if session.until > now else None

    def form_token(self, session: Session) -> str:
        """Return what every form of a session carries: a foreign page can send a form, but not this."""
        return self._mac(b"form", session.nonce.encode())

    def _mac(self, purpose: bytes, body: bytes) -> str:
        return hmac.new(self._secret, purpose + b"\n" + body, hashlib.sha256).hexdigest()


def same_key(given: str, key: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.strip().encode(), key.encode())


def check_names(host: str | None, origin: str | None, *, open_door: bool) -> None:
    """Refuse what a hostile page can make a browser send.

    A name that resolves to loopback (DNS rebinding) shows in Host, a form posted across sites in Origin. ``open_door``:
    there is no key, so that names are all there is to go by.

    Raises:
        Refused: the request comes from elsewhere.
    """
    name = _name_of(host or "")
    if open_door and host and not is_loopback(name):
        raise Refused(
            f"The host {host[:100]!r} is not a name of this machine.",
            next_step="Use 127.0.0.1 or localhost, or set GATEWAY_API_KEY to serve under other names.",
        )
    if origin and origin.partition("://")[2] != host:
        raise Refused(f"Pages of {origin[:100]!r} may not use this one.", next_step="Open the page by its address.")


def _name_of(host: str) -> str:
    return host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
