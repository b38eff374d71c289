"""What a fresh server needs before services start: streams, their groups, and users."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from archive_bus._addresses import open_client
from archive_bus._errors import BusError, BusUnavailable
from archive_bus._link import AWAY
from archive_contracts import access
from archive_contracts.streams import STREAMS, Kind, Server, Stream


class SetupRefused(BusError):
    """The server refuses to be set up with this credential."""

    code = "setup_refused"
    next_step = "Use the operator's credential for streams, an administrator's for users."


def fixed_streams() -> Iterator[tuple[str, str]]:
    """Yield (key, group) of every stream of the bus whose partitions the map knows; lanes appear with their pools."""
    for stream in STREAMS.values():
        if stream.server is Server.BUS and stream.kind in {Kind.WORK, Kind.INGRESS}:
            for number in range(stream.partitions):
                yield from ((stream.physical(number), group) for group in stream.consumers)


def lane_streams(pools: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (key, group) of the lanes of some pools."""
    for stream in STREAMS.values():
        if stream.kind is Kind.LANE:
            yield from ((stream.physical(pool), group) for pool in pools for group in stream.consumers)


async def create_streams(url: str, *, pools: Collection[str] = ()) -> list[str]:
    """Create every stream with its groups at 0, so that lag is known from the first message. Returns what was new.

    Raises:
        BusUnavailable: the server does not answer.
        SetupRefused: the credential does not suffice.
    """
    created: list[str] = []
    async with open_client(url, connect_s=3.0) as client:
        for key, group in (*fixed_streams(), *lane_streams(pools)):
            try:
                await _asked(client, "XGROUP", "CREATE", key, group, "0", "MKSTREAM")
                created.append(f"{key} {group}")
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise SetupRefused(f"the server refuses a group of {key}: {error}") from error
    return created


async def create_users(
    url: str, passwords: Mapping[str, Sequence[str]], *, servers: Collection[Server] = access.BOTH
) -> list[str]:
    """Give every user its rights of the map and its passwords, of which all are accepted. Returns the users.

    A user that is there loses what it had before, and keeps its connections when its passwords stay.

    Raises:
        BusUnavailable: the server does not answer.
        SetupRefused: the credential is no administrator's.
    """
    async with open_client(url, connect_s=3.0) as client:
        flavour = await _flavour(client)
        for user, accepted in passwords.items():
            rules = access.words(access.selectors(user, servers), flavour, passwords=accepted)
            try:
                await _asked(client, "ACL", "SETUSER", user, *rules)
            except ResponseError as error:
                raise SetupRefused(f"the server refuses the user {user}: {error}") from error
    return list(passwords)


async def reload_users(url: str) -> None:
    """Have a server read its ACL file again; connections of users that did not change stay.

    Raises:
        BusUnavailable: the server does not answer.
        SetupRefused: the credential does not suffice, or the file cannot be read.
    """
    async with open_client(url, connect_s=3.0) as client:
        try:
            await _asked(client, "ACL", "LOAD")
        except ResponseError as error:
            raise SetupRefused(f"the server does not read its ACL file: {error}") from error


async def create_group(url: str, stream: Stream, group: str) -> None:
    """Create a stream with a group at 0, unless it is there. Raises as ``create_streams``."""
    async with open_client(url, connect_s=3.0) as client:
        try:
            await _asked(client, "XGROUP", "CREATE", stream.physical(), group, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise SetupRefused(f"the server refuses a group of {stream.name}: {error}") from error


async def _flavour(client: Any) -> access.Flavour:
    info: Any = await _asked(client, "INFO", "server")
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    return access.Flavour.REDIS_7_0 if version < (7, 2) else access.Flavour.VALKEY_9


async def _asked(client: Any, *command: str) -> Any:
    try:
        return await client.execute_command(*command)
    except (AuthenticationError, NoPermissionError) as error:
        raise SetupRefused(f"the server refuses {command[0]}: {error}") from error
    except AWAY as error:
        raise BusUnavailable(f"the server is away: {error}") from error
