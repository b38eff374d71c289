"""What a server is like, and what its users may do: the facts from which a deployment is judged."""

import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from archive_bus._addresses import address_of
from archive_bus._errors import BusUnavailable, WrongPassword
from archive_bus._link import AWAY
from archive_bus._options import Durability
from archive_bus._writer import OLDEST
from archive_contracts.access import BESIDE_INPUT, BESIDE_OUTPUT, DROPPED, EXPORTER, EXTERNAL, WATCHERS
from archive_contracts.streams import CONTROL, STREAMS, Kind, Server, Stream, dead_letters

UNKNOWN = "unknown"
AWAKE_S = 5
"""An idle process asks for work every second."""
NOBODY = "default"
"""Who speaks to a server without a name."""
_PART = {Kind.LANE: "small", Kind.JOURNAL: "doctor", Kind.LOG: "doctor", Kind.INGRESS: "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSurvey:
    """One server. Sizes are bytes, ``room`` 0 when unlimited; ``skew_s`` how far its clock is ahead of ours, seconds.

    ``fsync`` is unknown where the server does not tell it. ``refused`` says what its access rules refused lately.
    """

    version: str
    too_old: bool
    master: bool
    policy: str
    used: int
    room: int
    aof: bool
    fsync: str
    disk_fine: bool
    replicas: int
    skew_s: float
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserSurvey:
    """What a server lets a user do, beside what the map gives it; both lists hold commands with their keys."""

    user: str
    known: bool
    enabled: bool = False
    missing: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSurvey:
    """Who may do what on a server.

    ``told`` is false where it does not say, as managed servers that bar the commands. ``without_name`` holds what
    anybody may do who shows no credential, ``users`` nothing where the server has none.
    """

    told: bool = True
    without_name: tuple[str, ...] = ()
    users: tuple[UserSurvey, ...] = ()


async def survey(url: str) -> ServerSurvey:
    """Ask a server about itself.

    Raises:
        BadAddress: the URL is no address.
        WrongPassword: the server does not take the name and password of the URL.
        BusUnavailable: it does not answer.
    """
    with _reported():
        async with address_of(url, Durability.MEMORY).client() as client:
            before = time.time()
            seconds, micros = await client.time()
            ours = (before + time.time()) / 2
            facts: dict[str, Any] = await client.info("everything")
            return ServerSurvey(
                version=str(facts.get("valkey_version") or facts["redis_version"]),
                too_old=_version(str(facts["redis_version"])) < OLDEST,
                master=facts.get("role", "master") == "master",
                policy=str(facts.get("maxmemory_policy", UNKNOWN)),
                used=int(facts["used_memory"]),
                room=int(facts.get("maxmemory", 0)),
                aof=bool(facts.get("aof_enabled")),
                fsync=await _fsync(client),
                disk_fine=_disk_fine(facts),
                replicas=int(facts.get("connected_slaves", 0)),
                skew_s=int(seconds) + int(micros) / 1e6 - ours,
                refused=await _refused(client),
            )


async def survey_processes(url: str) -> dict[str, int]:
    """Return how many processes of each service have spoken to a server within the last seconds.

    Nothing for a server that does not tell. Raises as ``survey``.
    """
    with _reported():
        async with address_of(url, Durability.MEMORY).client() as client:
            try:
                listed: list[dict[str, str]] = await client.client_list()
            except ResponseError:
                return {}
    names = {entry["name"] for entry in listed if "@" in entry["name"] and int(entry["idle"]) <= AWAKE_S}
    return dict(Counter(name.partition("@")[0] for name in names))


async def survey_users(url: str, users: Collection[str], roles: Collection[Server]) -> AccessSurvey:
    """Compare what the access rules of a server let users do with what the map gives them. Raises as ``survey``.

    Users are services, and those who watch.
    """
    with _reported():
        async with address_of(url, Durability.MEMORY).client() as client:
            try:
                known = {_text(name) for name in await client.execute_command("ACL", "USERS")}
                open_to = await _without_name(client, roles)
                found = [] if known == {NOBODY} else [await _survey_user(client, user, roles, known) for user in users]
            except ResponseError:
                return AccessSurvey(told=False)
            return AccessSurvey(without_name=open_to, users=tuple(found))


async def _without_name(client: Any, roles: Collection[Server]) -> tuple[str, ...]:
    found: Any = await client.execute_command("ACL", "GETUSER", NOBODY)
    if not {"on", "nopass"} <= _flags(found):
        return ()
    return (await _survey_user(client, NOBODY, roles, {NOBODY})).beyond


async def _survey_user(client: Any, user: str, roles: Collection[Server], known: Collection[str]) -> UserSurvey:
    if user not in known:
        return UserSurvey(user, known=False)
    found: Any = await client.execute_command("ACL", "GETUSER", user)
    missing: list[str] = []
    beyond: list[str] = []
    for command, given in probes(user, roles):
        reply = await client.execute_command("ACL", "DRYRUN", user, *command)
        if (_text(reply) == "OK") != given:
            (missing if given else beyond).append(" ".join(command))
    return UserSurvey(user, known=True, enabled="on" in _flags(found), missing=tuple(missing), beyond=tuple(beyond))


def probes(user: str, roles: Collection[Server]) -> Iterator[tuple[Sequence[str], bool]]:
    """Yield (command, whether the map gives it to the user) for each stream of some roles, and what nobody may."""
    for stream in STREAMS.values():
        if stream.server in roles and stream.kind is not Kind.REPLIES:
            key = stream.physical(_PART.get(stream.kind, "0"))
            yield ("XREADGROUP", "GROUP", user, "c", "STREAMS", key, ">"), user in stream.consumers
            yield ("XACK", key, user, "1-1"), user in stream.consumers
            yield ("XADD", key, "*", "a", "1"), user in stream.producers
            yield ("XRANGE", key, "-", "+"), _reads(user, stream)
            yield from ((command, True) for command in _beside(user, stream, key))
            yield from ((command, True) for command in _counting(user, stream, key))
    if user in WATCHERS:
        # KEDA that is refused one of these counts all that a stream holds, and asks for every worker that it may.
        yield ("INFO",), True
    yield ("FLUSHALL",), False


def _counting(user: str, stream: Stream, key: str) -> Iterator[Sequence[str]]:
    """Yield what those who watch ask about a stream: KEDA what waits, the exporter also what was given up."""
    for group in stream.consumers if user in WATCHERS else ():
        yield from (("XLEN", key), ("XPENDING", key, group), ("XINFO", "GROUPS", key))
        if user == EXPORTER:
            yield from (("TYPE", key), ("XINFO", "STREAM", key), ("XINFO", "CONSUMERS", key, group))
            yield "XLEN", dead_letters(key, group)


def _beside(service: str, stream: Stream, key: str) -> Iterator[Sequence[str]]:
    """Yield what a service does with the keys beside a stream: rules of an older release know some of them not yet."""
    if service in stream.consumers:
        own = [f"{key}:{service}:{name.replace('*', '1')}" for name in BESIDE_INPUT]
        yield _script(key, *own, dead_letters(key, service))
        yield from (("GET", each) for each in own)
        yield "SMEMBERS", f"{key}:{DROPPED}"
    waiting = [f"{key}:{name}" for name in BESIDE_OUTPUT]
    sends = service in stream.producers
    # What foreign publishers may not do for themselves, the consumer of their stream does.
    stands_in = service in stream.consumers and EXTERNAL in stream.producers
    if stands_in or (sends and stream.kind in {Kind.WORK, Kind.LANE}):
        yield _script(key, *waiting)
        yield from (("GET", each) for each in waiting)
    if sends and stream.kind in {Kind.WORK, Kind.LANE, Kind.JOURNAL, Kind.BROADCAST}:
        yield _script(key, f"{key}:seen:1")
    elif sends and stream.kind is Kind.LOG:
        yield _script(key)
    if stream is CONTROL and (sends or service in stream.followers):
        yield "EXISTS", f"{key}:cancelled:1"


def _script(*keys: str) -> Sequence[str]:
    return "EVALSHA", "0" * 40, str(len(keys)), *keys


def _reads(service: str, stream: Stream) -> bool:
    own_journal = stream.kind is Kind.JOURNAL and service in stream.producers
    return service in stream.consumers or service in stream.followers or own_journal


@contextmanager
def _reported() -> Generator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise WrongPassword(f"the server refuses the credential: {error}") from error
    except AWAY as error:
        raise BusUnavailable(f"the server is away: {error}") from error
    except NoPermissionError as error:
        raise WrongPassword(f"the credential may not look at the server: {error}") from error


async def _fsync(client: Any) -> str:
    try:
        reply: dict[Any, Any] = await client.config_get("appendfsync")
    except ResponseError:
        return UNKNOWN
    return next((_text(value) for value in reply.values()), UNKNOWN)


async def _refused(client: Any) -> tuple[str, ...]:
    try:
        entries: list[dict[Any, Any]] = await client.acl_log(count=10)
    except ResponseError:
        return ()
    told = [{_text(name): value for name, value in entry.items()} for entry in entries]
    return tuple(
        f"{_text(entry['username'])}: {_text(entry['object'])} ({_text(entry['reason'])})"
        for entry in told
        if float(entry.get("age-seconds", 0)) < 3600
    )


def _disk_fine(facts: dict[str, Any]) -> bool:
    told = [facts.get(name, "ok") for name in ("aof_last_write_status", "aof_last_bgrewrite_status")]
    return all(status == "ok" for status in told)


def _flags(reply: Any) -> set[str]:
    """Return the flags of ACL GETUSER: a list of pairs, or a mapping, by the protocol and the client's version."""
    pairs: Any = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    facts = {_text(name): value for name, value in pairs}
    return {_text(flag) for flag in facts.get("flags", ())}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
