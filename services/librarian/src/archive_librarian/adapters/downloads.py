"""Files from the web, by a pool that dials only what was checked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

import certifi
import httpcore

from archive_librarian.domain.addresses import Address, Network, Place, file_name, onward, place, refusal
from archive_librarian.domain.errors import AddressRefused, BadAddress, DownloadError, ResourceLimit, Unreachable

MOST_HOPS = 5
CONNECT_S = 10.0
IDLE_S = 30.0
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
GONE = frozenset({404, 410})
LOCKED = frozenset({401, 403})
MOVED = frozenset({301, 302, 303, 307, 308})
_SENT_ON = "Open the address in a browser. What shows there can be saved and uploaded."
_ASK = [("user-agent", "Archive-AI librarian"), ("accept", "*/*"), ("accept-encoding", "identity")]
"""Unpacked bytes only: what is counted is what comes, and nothing can swell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be asked, how much may come, and within how many seconds."""

    ports: Collection[int]
    allowed: Collection[Network]
    most_bytes: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Download:
    """A file on its way. ``content`` raises DownloadError and ResourceLimit as it comes."""

    filename: str
    content_type: str
    content: AsyncIterator[bytes]


class Downloads:
    """Downloads from the public internet, and from networks that the operator allowed."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._tls = ssl.create_default_context(cafile=certifi.where())

    @asynccontextmanager
    async def opened(self, url: str) -> AsyncGenerator[Download, None]:
        """Ask an address, and the ones that it sends on to.

        Raises:
            BadAddress, AddressRefused: it, or one that it sends on to, may not be asked.
            Unreachable: nothing came in time; later it may.
            DownloadError: the server says no.
        """
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls, network_backend=_Guard(self._rules.allowed), max_keepalive_connections=0
        )
        try:
            first = place(url, ports=self._rules.ports)
            async with asyncio.timeout(self._rules.within_s), pool, self._answer(pool, first, hops=0) as download:
                yield download
        except TimeoutError:
            raise Unreachable(f"The download took longer than {self._rules.within_s:g} s.") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise Unreachable(f"The connection failed: {str(error) or type(error).__name__}.") from error

    @asynccontextmanager
    async def _answer(
        self, pool: httpcore.AsyncConnectionPool, at: Place, *, hops: int
    ) -> AsyncGenerator[Download, None]:
        onto = ""
        timeouts = {"connect": CONNECT_S, "read": IDLE_S, "write": IDLE_S, "pool": CONNECT_S}
        async with AsyncExitStack() as stack:
            with _sent_on() if hops else nullcontext():
                asked = pool.stream("GET", at.url, headers=_ASK, extensions={"timeout": timeouts})
                response = await stack.enter_async_context(asked)
            headers = {name.lower().decode(): value.decode("latin-1") for name, value in response.headers}
            if response.status in MOVED and headers.get("location"):
                onto = onward(at.url, headers["location"])
            else:
                _check(response.status, headers, self._rules.most_bytes)
                yield Download(
                    filename=file_name(at.url, headers.get("content-disposition", "")),
                    content_type=headers.get("content-type", ""),
                    content=self._counted(response),
                )
        if onto:
            if hops == MOST_HOPS:
                raise DownloadError(f"The address sends on more than {MOST_HOPS} times.")
            with _sent_on():
                next_place = place(onto, ports=self._rules.ports)
            async with self._answer(pool, next_place, hops=hops + 1) as download:
                yield download

    async def _counted(self, response: httpcore.Response) -> AsyncIterator[bytes]:
        received = 0
        async for piece in response.aiter_stream():
            received += len(piece)
            if received > self._rules.most_bytes:
                raise _too_large(self._rules.most_bytes)
            yield piece


@contextmanager
def _sent_on() -> Generator[None, None, None]:
    """Say of a refusal that it is not the address which the person gave."""
    try:
        yield
    except (AddressRefused, BadAddress) as error:
        raise AddressRefused(f"The server sends on to another address: {error}", _SENT_ON) from error


def _check(status: int, headers: dict[str, str], most_bytes: int) -> None:
    if status in AGAIN:
        raise Unreachable(f"The server answered {status}.")
    if status != 200:
        if status in GONE:
            raise DownloadError(
                f"The server answered {status}. There is nothing at this address.",
                "See whether it is complete, then try again.",
            )
        raise DownloadError(f"The server answered {status}.{' It wants a login.' if status in LOCKED else ''}")
    if headers.get("content-encoding", "identity") != "identity":
        raise DownloadError("The server sends packed content that was not asked for.")
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told) > most_bytes:
        raise _too_large(most_bytes)


def _too_large(most_bytes: int) -> ResourceLimit:
    return ResourceLimit(
        f"The file is larger than {most_bytes / 2**20:.0f} MB.",
        "Add a smaller part of it, or have the operator raise LIBRARIAN_FETCH_MAX_MB.",
    )


class _Guard(httpcore.AsyncNetworkBackend):
    """Resolves a name once, checks every answer, and dials what it checked: no second look-up can say otherwise."""

    def __init__(self, allowed: Collection[Network]) -> None:
        self._allowed = allowed
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _resolved(host, port)
        for address in addresses:
            if why := refusal(address, allowed=self._allowed):
                raise AddressRefused(f"{host} {why}.")
        failure = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


async def _resolved(host: str, port: int) -> list[Address]:
    """Return every address of a name, in the order of the system's preference. Raises Unreachable."""
    try:
        rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"The name {host!r} is not known.") from error
    # A zone, as in fe80::1%eth0, is of no use to a check.
    return list(dict.fromkeys(ip_address(str(row[4][0]).partition("%")[0]) for row in rows))
