"""Who may come in: the key, the host name, the page that sent a request."""

import hmac
import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from archive_gateway.domain.errors import ForeignPage, WrongKey

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The rules of the door. Without ``key`` the gateway is open to this machine, and to nothing else."""

    key: str = ""

    def admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Let a request pass, or say why not. ``headers`` has lower-case names.

        Raises:
            WrongKey: a key is set and the request does not carry it.
            ForeignPage: no key is set and the request was made under a foreign name, or by a foreign page.
        """
        if path in PROBES:
            return
        if self.key:
            self._check_key(headers.get(b"authorization", b""))
        else:
            _check_names(headers)

    def _check_key(self, authorization: bytes) -> None:
        scheme, _, given = authorization.partition(b" ")
        # Compared as bytes, in constant time, also when there is nothing to compare.
        if hmac.compare_digest(given.strip(), self.key.encode()) and scheme.lower() == b"bearer":
            return
        raise WrongKey(
            "The API key is missing or wrong.",
            next_step="Send the header 'Authorization: Bearer KEY' with the key of GATEWAY_API_KEY.",
        )


def _check_names(headers: dict[bytes, bytes]) -> None:
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
