"""Where servers are and how far what they accept must be safe: all of it in one URL.

``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, and
``sentinel://[user:password@]host[:port],host[:port],.../master[/db]`` for a master that sentinels name. The query may
say ``durability=memory|aof|replicated``, and ``sentinel_username`` and ``sentinel_password`` for sentinels that want
them; what else it says goes to redis-py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from archive_bus._errors import BadAddress
from archive_bus._heeding import heeding
from archive_bus._options import Durability

if TYPE_CHECKING:
    from faststream.redis import RedisBroker

SENTINEL_PORT = 26379
IMPATIENT: Mapping[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": 1.0,
    "socket_timeout": 3.0,
    "max_connections": 10_000,
}
"""A dead connection is noticed soon, and there are as many as are asked for."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server, or the master of a set that sentinels watch."""

    url: str
    durability: Durability
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""
    login: tuple[tuple[str, Any], ...] = ()
    watch_login: tuple[tuple[str, Any], ...] = ()

    def pool(self, *, name: str = "") -> ConnectionPool:
        """Return a pool of connections; behind sentinels each new one goes to the master of its moment.

        ``name`` is what the server calls them to an operator who lists its clients.
        """
        pool = self._watched_pool() if self.sentinels else ConnectionPool.from_url(self.url, **IMPATIENT)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        pool.connection_class = heeding(pool.connection_class)
        if name:
            pool.connection_kwargs.update(client_name=name)
        return pool

    def _watched_pool(self) -> SentinelConnectionPool:
        watchers = Sentinel(self.sentinels, sentinel_kwargs={**IMPATIENT, **dict(self.watch_login)})  # pyright: ignore[reportArgumentType] - any sequence will do
        return SentinelConnectionPool(self.master, watchers, **{**IMPATIENT, **dict(self.login)})  # pyright: ignore[reportUnknownMemberType]

    def client(self, *, connect_s: float = 2.0, answer_s: float = 5.0) -> Any:
        """Return a client for people's questions, which may take longer than a heartbeat."""
        pool = self.pool()
        pool.connection_kwargs.update(socket_connect_timeout=connect_s, socket_timeout=answer_s)
        return Redis.from_pool(pool)

    def broker(self, **more: Any) -> "RedisBroker":
        """Return FastStream's broker on this address."""
        from faststream.redis import RedisBroker, RedisSentinelBroker

        settings: dict[str, Any] = {**IMPATIENT, **more}
        if not self.sentinels:
            return RedisBroker(self.url, **settings)
        return cast(
            "RedisBroker",
            RedisSentinelBroker(
                sentinels=list(self.sentinels),
                sentinel_master_name=self.master,
                sentinel_kwargs={**IMPATIENT, **dict(self.watch_login)},
                **{**settings, **dict(self.login)},
            ),
        )


def address_of(url: str, durability: Durability) -> Address:
    """Read an address; ``durability`` is that of a URL which does not say.

    Raises:
        BadAddress: it is none.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    try:
        durability = Durability(query.pop("durability", durability))
        if parts.scheme == "sentinel":
            return _watched(url, durability, query)
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("it begins with none of redis://, rediss://, sentinel://")
    except ValueError as error:
        raise BadAddress(f"{parts.scheme}://{parts.hostname or ''} is no address of a server: {error}") from error
    return Address(url=parts._replace(query=urlencode(query)).geturl(), durability=durability)


def open_client(url: str, *, connect_s: float = 2.0, answer_s: float = 5.0) -> Any:
    """Return a redis-py client for any address that the bus understands, for adapters whose job is Redis.

    It connects when it is first used; behind sentinels each new connection goes to the master of its moment.

    Raises:
        BadAddress: it is none.
    """
    return address_of(url, Durability.MEMORY).client(connect_s=connect_s, answer_s=answer_s)


def _watched(url: str, durability: Durability, query: dict[str, str]) -> Address:
    parts = urlsplit(url)
    login, _, places = parts.netloc.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    if not master:
        raise ValueError("the path does not name the master, as in sentinel://host:26379/mymaster")
    user, _, password = login.partition(":")
    watch_login = {name: query.pop(f"sentinel_{name}", "") for name in ("username", "password")}
    known: dict[str, Any] = {"username": unquote(user), "password": unquote(password), "db": int(database or 0)}
    known.update(parse_url(f"redis://?{urlencode(query)}"))
    return Address(
        url="",
        durability=durability,
        sentinels=tuple(_place(place) for place in places.split(",")),
        master=unquote(master),
        login=tuple((name, value) for name, value in known.items() if value),
        watch_login=tuple((name, value) for name, value in watch_login.items() if value),
    )


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    if not host:
        raise ValueError(f"{text!r} is no host and port")
    return host.strip("[]"), int(port or SENTINEL_PORT)
