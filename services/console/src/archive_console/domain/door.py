"""Who may come in: sessions, the proof that a form is ours, and the names of this machine."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

from archive_console.domain.errors import Refused
from archive_contracts.keys import ApiKey, KeyBook

SALT_DIGITS = 16
# A second slash, or a backslash, would lead to another host.
_PAGE = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1999}")
SESSION_S = 7 * 24 * 3600.0
MASTER, ANYBODY = "gateway", "anybody"
"""Who comes in by the operator's own key of the environment, and who while there is no key at all."""
PLATFORM, OPERATOR = "platform", "operator"
"""The scope that opens the page, and the one that opens the pages of operators."""


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
    """Whose page this is. ``key`` is the id of the key that opened it, ``until`` is seconds since the epoch."""

    tenant: str
    operator: bool
    nonce: str
    until: float
    key: str = MASTER

    @property
    def actor(self) -> str:
        """Who writes, as it is told to others: the key, and which of its sessions."""
        return ANYBODY if self.key == ANYBODY else f"{self.key}/{self.nonce[:6]}"


class Signer:
    """Signs sessions and forms with a secret that only the console knows.

    Sessions that the operator's own key opened are signed with that key too: another one in its place voids them.
    """

    def __init__(self, secret: bytes, *, key: str = "") -> None:
        self._secret = secret
        self._own = b"session of " + key.encode()

    def seal(self, session: Session) -> str:
        """Return a session as the value of a cookie: its fields, and the HMAC-SHA256 of them."""
        fields = [session.tenant, session.operator, session.nonce, session.until, session.key]
        body = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")
        return f"{body.decode()}.{self._mac(self._own if session.key == MASTER else b'session', body)}"

    def open(self, cookie: str, *, now: float) -> Session | None:
        """Return the session of a cookie; None when it is forged, damaged or over."""
        body, _, mac = cookie.partition(".")
        own = self._signed(mac, self._own, body)
        if not own and not self._signed(mac, b"session", body):
            return None
        try:
            fields = cast("list[Any]", json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
            tenant, operator, nonce, until, key = fields
        except (ValueError, binascii.Error):
            return None
        session = Session(
            tenant=str(tenant), operator=bool(operator), nonce=str(nonce), until=float(until), key=str(key)
        )
        return session if session.until > now and own is (session.key == MASTER) else None

    def form_token(self, session: Session, salt: str) -> str:
        """Return what the forms of a page carry: a foreign page can send a form, but not this.

        ``salt``, 16 hexadecimal digits, is another one for every page: pages are sent packed, and what stays the same
        in all of them could be guessed from their sizes (BREACH).
        """
        return salt + self._mac(b"form", f"{salt}{session.nonce}".encode(errors="replace"))

    def proves(self, session: Session, token: str) -> bool:
        """Whether a form that carries ``token`` is of this session."""
        expected = self.form_token(session, token[:SALT_DIGITS])
        return token.isascii() and hmac.compare_digest(token, expected)

    def _signed(self, mac: str, purpose: bytes, body: str) -> bool:
        return hmac.compare_digest(mac.encode(), self._mac(purpose, body.encode()).encode())

    def _mac(self, purpose: bytes, body: bytes) -> str:
        return hmac.new(self._secret, purpose + b"\n" + body, hashlib.sha256).hexdigest()


class Ring(Protocol):
    """The keys that were created."""

    def book(self) -> KeyBook | None:
        """Return them, or None while nobody knows."""
        ...


class Locks:
    """Which keys open the door.

    Without any the door is open to this machine; the first key that is created closes it for good. ``key`` is the
    operator's own, from the environment.
    """

    def __init__(self, ring: Ring, *, key: str, tenant: str) -> None:
        self._ring = ring
        self._key = key
        self._tenant = tenant

    @property
    def locked(self) -> bool:
        """Whether a key is needed; it is while nobody knows whether there is one."""
        book = self._ring.book()
        return bool(self._key) or book is None or bool(book.keys)

    def enter(self, given: str, *, now: float, nonce: str) -> Session | None:
        """Return the session that a key opens; None for a key that is wrong, void, or of too narrow a scope."""
        given, until = given.strip(), now + SESSION_S
        if self._key and hmac.compare_digest(given.encode(), self._key.encode()):
            return Session(tenant=self._tenant, operator=True, nonce=nonce, until=until)
        book = self._ring.book()
        found = book.find(given.encode()) if book else None
        if found is None or not found[0].valid(found[1], now) or not _may_enter(found[0]):
            return None
        key = found[0]
        until = min(until, float(key.expires_at)) if key.expires_at is not None else until
        return Session(tenant=key.tenant, operator=OPERATOR in key.scopes, nonce=nonce, until=until, key=key.id)

    def still(self, session: Session, *, now: float) -> bool:
        """Whether the key that opened a session is alive; a rotated one is the same key."""
        if session.key == MASTER:
            return bool(self._key)
        book = self._ring.book()
        key = book.keys.get(session.key) if book else None
        return key is not None and key.revoked_at is None and not key.expired(now)


def _may_enter(key: ApiKey) -> bool:
    return PLATFORM in key.scopes or OPERATOR in key.scopes


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
            next_step="Use 127.0.0.1 or localhost, or create a key to serve under other names.",
        )
    if origin and origin.partition("://")[2] != host:
        raise Refused(f"Pages of {origin[:100]!r} may not use this one.", next_step="Open the page by its address.")


def landing(address: str) -> str:
    """Return where somebody goes who has come in: the page of ours that he had asked for, or the first."""
    ours = _PAGE.fullmatch(address) and not address.startswith("/login") and "/events" not in address
    return address if ours else "/"


def _name_of(host: str) -> str:
    return host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
