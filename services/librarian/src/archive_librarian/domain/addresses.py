"""Which addresses of the network may be asked for a document, and what to call what they send.

A person names the address, the librarian's machine asks it: whatever only that machine reaches is off limits.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import unquote, urljoin, urlsplit

from archive_librarian.domain.errors import AddressRefused, BadAddress

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_CHARS = 2000
MOST_NAME = 200
SCHEMES = {"http": 80, "https": 443}

# What ``is_global`` lets through although it leads to this machine, its neighbours, or wherever the bits inside say.
_DENIED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "192.88.99.0/24",  # relays of 6to4
        "::/96",  # IPv4 inside IPv6, compatible form: ::127.0.0.1
        "64:ff9b::/96",  # IPv4 behind NAT64
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local, as it was once
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """A checked address: what to ask, where to dial."""

    url: str
    host: str
    port: int


def place(url: str, *, ports: Collection[int]) -> Place:
    """Return where an address leads.

    Raises:
        BadAddress: it is none of the web.
        AddressRefused: it carries a password, or leads to another port than those.
    """
    try:
        parsed = urlsplit(url)
        port = parsed.port or SCHEMES.get(parsed.scheme, 0)
    except ValueError:
        raise BadAddress(f"{url[:200]!r} is no address.") from None
    if parsed.scheme not in SCHEMES or not parsed.hostname or len(url) > MOST_CHARS or _unprintable(url):
        raise BadAddress(f"{url[:200]!r} is no address of the web.")
    if parsed.username or parsed.password:
        raise AddressRefused("The address carries a password.", "Download the file yourself and upload it.")
    if port not in ports:
        raise AddressRefused(
            f"Port {port} is not asked for documents.",
            "Download the file yourself and upload it, or have the operator set LIBRARIAN_FETCH_PORTS.",
        )
    return Place(url, parsed.hostname, port)


def _unprintable(url: str) -> bool:
    return any(char.isspace() or not char.isprintable() for char in url)


def onward(before: str, location: str) -> str:
    """Return where a redirect leads. Raises BadAddress."""
    try:
        return urljoin(before, location)
    except ValueError:
        raise BadAddress("The server sends on to something that is no address.") from None


def refusal(address: Address, *, allowed: Collection[Network] = ()) -> str:
    """Return why an address of the network is not dialled; empty when it may be. ``allowed`` go before all rules."""
    if any(address.version == network.version and address in network for network in allowed):
        return ""
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if inner is not None:
        return refusal(inner, allowed=allowed)
    if address.is_multicast or not address.is_global:
        return "is not on the public internet"
    if any(address.version == network.version and address in network for network in _DENIED):
        return "leads back into private networks"
    return ""


def file_name(url: str, disposition: str) -> str:
    """Return what to call a download: what its server says, else the end of its address."""
    header = Message()
    header["content-disposition"] = disposition
    try:
        named = header.get_filename("") if disposition else ""
    except ValueError:  # a charset whose name no codec can have
        named = ""
    parsed = urlsplit(url)
    wanted = named or unquote(parsed.path.rstrip("/").rpartition("/")[2]) or parsed.hostname or "document"
    name = re.sub(r"[\x00-\x1f\x7f]", "", wanted.replace("\\", "/")).rpartition("/")[2].strip(" .")
    return name[-MOST_NAME:] or "document"
