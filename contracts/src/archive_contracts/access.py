"""Who may do what on the servers: access rules (ACL) of every user, written from the map.

A user has root permissions, which name commands without keys, and selectors, each a set of commands on a set of keys. A
command passes when the root or one selector allows it on all of its keys; commands inside a script are checked one by
one. So ``EVALSHA`` appears in every selector whose keys a script takes together, and gives nothing by itself.

What access rules cannot say: which group of a stream a consumer reads, and how ``XADD`` trims (``MAXLEN 0`` empties a
stream). Therefore whoever may add to a stream may trim it, and who only consumes may neither add, delete nor trim.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from archive_contracts.streams import CONTROL, REPLIES, SERVICES, STREAMS, Kind, Server, Stream, dead_letters

OPERATOR, KEDA, EXPORTER = "operator", "keda", "exporter"
WATCHERS = (KEDA, EXPORTER)
"""Who reads numbers and nothing else: what scales the workers, and what tells Prometheus."""
SENTINEL, REPLICA = "sentinel", "replica"
EXTERNAL = "external"
_PUBLISHER = "ingress-"
USERS = (*SERVICES, OPERATOR, *WATCHERS, SENTINEL, REPLICA)
"""Every user of an installation beside its administrator and foreign publishers."""
ADMINISTRATOR = "administrator"
"""Who changes users, and so can give itself any right: an operator's, for passwords and doors, never a process's."""

BOTH: frozenset[Server] = frozenset(Server)


class Flavour(StrEnum):
    """Server versions that need rules of their own: an unknown command makes a server refuse the whole file."""

    VALKEY_9 = "valkey-9"
    """Valkey 8 and 9, Redis 7.2 and later."""
    REDIS_7_0 = "redis-7.0"


_DIGEST = re.compile("#[0-9a-f]{64}")
NEWER = frozenset({"client|setinfo", "waitaof"})
"""Commands that Redis 7.0 does not know."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Commands allowed on keys, and channels (``&``). Without keys they are root permissions."""

    commands: tuple[str, ...]
    keys: tuple[str, ...] = ()

    def words(self, flavour: Flavour) -> str:
        """Return it as a part of an ACL line."""
        known = (word for word in self.commands if flavour is Flavour.VALKEY_9 or word.lstrip("+-") not in NEWER)
        body = " ".join([*self.keys, *(word if word[0] in "+-&" else f"+{word}" for word in known)])
        return f"({body})" if self.keys else body


GREETING = tuple("auth hello ping select reset quit client|setname client|setinfo client|id acl|whoami".split())
CONNECTION = Selector(
    (*GREETING, *"info time wait waitaof script|load script|exists multi exec discard unwatch".split())
)
BESIDE_INPUT = ("runs", "parked", "members", "owner", "fence", "done:*")
"""What the bus keeps beside a stream for each group that reads it; ``<stream>:<group>:<name>``."""
BESIDE_OUTPUT = ("due", "parcels")
"""What it keeps beside a stream for its publishers: delayed messages."""

DROPPED = "dropped"
"""Beside a stream: its groups that an operator has dropped, so that no publisher brings them back."""

_CONSUME = (
    "xread xrange xreadgroup xack xautoclaim xclaim xpending xlen exists xinfo|groups xinfo|stream xinfo|consumers "
    "xgroup|create xgroup|createconsumer xgroup|delconsumer evalsha"
)
_KEEP = (
    "get set del exists pexpire hget hmget hgetall hset hdel hlen zadd zrem zscore zrange zrangebyscore "
    "zremrangebyscore zcard"
)
_PRODUCE = "xadd xtrim xlen exists xpending xinfo|groups xinfo|stream xgroup|create evalsha"
_BROADCAST = "xadd evalsha"
_APPEND = "xadd xlen exists pexpire evalsha"
_TELL = "xadd xinfo|stream exists pexpire evalsha"
_OPEN = "xgroup|create pexpire"
_READ = "xread xrange xrevrange xlen exists xinfo|stream"
_OWN_REPLIES = "xgroup|create xread xrange xlen xtrim pexpire unlink exists"
# Everything on data but what reaches beyond the named keys.
_OWN = (
    "+@string +@hash +@list +@set +@sortedset +@stream +@bitmap +@hyperloglog +@geo +@keyspace +@scripting "
    "-@dangerous -@admin -scan -randomkey -dbsize -script +watch"
)
_SCALE = "xlen xpending xinfo|groups xinfo|stream exists"
_EXPORT = "info scan slowlog|len slowlog|get latency|latest dbsize"
# What Sentinel's own documentation asks for, on the channel where sentinels find each other.
_WATCH = (
    "multi exec ping info role publish subscribe slaveof replicaof failover config|rewrite client|kill script|kill "
    "&__sentinel__:hello"
)
_COPY = "psync replconf ping"
_OPERATE = (
    "+@all -@admin -@dangerous -script|flush -script|kill -function +info +config|get +acl|dryrun +acl|getuser "
    "+acl|list +acl|users +acl|log +client|list +slowlog|get +slowlog|len +latency|latest +restore"
)


def dead_letter_keys(stream: Stream, group: str) -> tuple[str, ...]:
    """Return patterns of the dead letters of a group."""
    return tuple(dead_letters(key, group) for key in physical_keys(stream))


def physical_keys(stream: Stream) -> tuple[str, ...]:
    """Return patterns of the keys of a stream: names where the map knows them, else a glob."""
    if stream.kind is Kind.INGRESS:
        return ("{ingress.*:0}",)
    if stream.kind in {Kind.LANE, Kind.JOURNAL, Kind.REPLIES, Kind.LOG}:
        return (stream.physical("*"),)
    return tuple(stream.physical(number) for number in range(stream.partitions))


def selectors(user: str, servers: Collection[Server] = BOTH) -> list[Selector]:
    """Return what a user may do on a server that serves these roles.

    Raises:
        KeyError: no such user.
    """
    if user in {OPERATOR, ADMINISTRATOR}:
        more = [Selector(("acl|setuser",))] if user == ADMINISTRATOR else []
        return [CONNECTION, Selector(tuple(_OPERATE.split()), ("~*",)), *more]
    if user == KEDA:
        keys = _read_only(key for stream in _scaled(servers) for key in physical_keys(stream))
        watching = [Selector(tuple(_SCALE.split()), keys)] if keys else []
        return [Selector((*GREETING, "info")), *watching]
    if user == EXPORTER:
        root = Selector((*GREETING, *_EXPORT.split()))
        # It asks about consumers also where their figures are left out, and tells nothing of a stream when refused.
        return [root, Selector((*_SCALE.split(), "xinfo|consumers", "type"), ("%R~{*}", "%R~{*}:*:dead"))]
    if user in {SENTINEL, REPLICA}:
        return [Selector((*GREETING, *(_WATCH if user == SENTINEL else _COPY).split()))]
    if user.startswith(_PUBLISHER) and Server.BUS in servers:
        return publisher_selectors(user.removeprefix(_PUBLISHER))
    if user not in SERVICES:
        raise KeyError(user)
    return [CONNECTION, *_service(user, [stream for stream in STREAMS.values() if stream.server in servers])]


def _scaled(servers: Collection[Server]) -> Iterator[Stream]:
    return (stream for stream in STREAMS.values() if stream.consumers and stream.server in servers)


def _service(service: str, streams: list[Stream]) -> Iterator[Selector]:
    inputs = [stream for stream in streams if service in stream.consumers]
    outputs = [stream for stream in streams if service in stream.producers]
    yield from _consuming(service, inputs)
    yield from _with_marks(_PRODUCE, [stream for stream in outputs if stream.kind in {Kind.WORK, Kind.LANE}])
    journals = [stream for stream in outputs if stream.kind is Kind.JOURNAL]
    yield from _with_marks(_APPEND, journals)
    broadcasts = [stream for stream in outputs if stream.kind is Kind.BROADCAST]
    if keys := _keys(broadcasts):
        marks = tuple(f"~{key}:seen:*" for key in keys)
        yield Selector(tuple(_BROADCAST.split()), (*(f"~{key}" for key in keys), *marks))
        yield Selector(("get", "set"), marks)
    logs = [stream for stream in streams if stream.kind is Kind.LOG]
    if keys := _keys([stream for stream in logs if service in stream.producers]):
        yield Selector(tuple(_TELL.split()), tuple(f"~{key}" for key in keys))
    if keys := _keys([stream for stream in logs if service in stream.followers]):
        yield Selector(tuple(_OPEN.split()), tuple(f"~{key}" for key in keys))
    read = [stream for stream in streams if service in stream.followers and stream.kind is not Kind.REPLIES]
    if keys := _keys([*read, *(journal for journal in journals if journal not in read)]):
        yield Selector(tuple(_READ.split()), _read_only(keys))
    yield from _cancelling(service, streams)
    yield from _replying(service, streams)
    yield Selector(tuple(_OWN.split()), (f"~{service}:*",))


def _consuming(service: str, inputs: list[Stream]) -> Iterator[Selector]:
    """Read and settle; the counters and the dead letters of the own group lie beside the stream, by its tag."""
    if not inputs:
        return
    beside = tuple(f"~{key}:{service}:{name}" for key in _keys(inputs) for name in BESIDE_INPUT)
    dead = tuple(f"~{key}" for stream in inputs for key in dead_letter_keys(stream, service))
    yield Selector(tuple(_CONSUME.split()), (*(f"~{key}" for key in _keys(inputs)), *beside, *dead))
    yield Selector(tuple(_KEEP.split()), beside)
    yield Selector(("xadd",), tuple(f"%W{key}" for key in dead))
    # Who joins is no longer a group that an operator has dropped.
    yield Selector(("smembers", "srem"), tuple(f"~{key}:{DROPPED}" for key in _keys(inputs)))
    # A worker removes the lane of one that is gone.
    if lanes := [stream for stream in inputs if stream.kind is Kind.LANE]:
        yield Selector(("unlink",), tuple(f"~{stream.physical('*:*')}" for stream in lanes))
    # Foreign publishers trim nothing and deliver nothing late, so the one consumer of their stream does.
    if foreign := [stream for stream in inputs if EXTERNAL in stream.producers]:
        waiting = tuple(f"~{key}:{name}" for key in _keys(foreign) for name in BESIDE_OUTPUT)
        yield Selector(("xtrim", "evalsha"), (*(f"~{key}" for key in _keys(foreign)), *waiting))
        yield Selector(tuple(_KEEP.split()), waiting)


def _with_marks(commands: str, outputs: list[Stream]) -> Iterator[Selector]:
    """Add, and keep beside the stream which ids were added: setting a mark must never reach the stream itself."""
    if keys := _keys(outputs):
        marks = tuple(f"~{key}:seen:*" for key in keys)
        timed = [stream for stream in outputs if stream.kind is not Kind.JOURNAL]
        waiting = tuple(f"~{key}:{name}" for key in _keys(timed) for name in BESIDE_OUTPUT)
        yield Selector(tuple(commands.split()), (*(f"~{key}" for key in keys), *marks, *waiting))
        yield Selector(("get", "set", "exists"), marks)
        if waiting:
            yield Selector(tuple(_KEEP.split()), waiting)
            yield Selector(("smembers",), tuple(f"%R~{key}:{DROPPED}" for key in keys))


def _cancelling(service: str, streams: list[Stream]) -> Iterator[Selector]:
    """Cancellation leaves a mark for work that begins later."""
    if CONTROL not in streams:
        return
    mark = f"{CONTROL.physical()}:cancelled:*"
    if service in CONTROL.producers:
        yield Selector(("set", "exists"), (f"~{mark}",))
    if service in CONTROL.followers:
        yield Selector(("exists",), (f"%R~{mark}",))


def _replying(service: str, streams: list[Stream]) -> Iterator[Selector]:
    if REPLIES not in streams:
        return
    # Every process has a reply stream, named by its service, and nobody reads another's.
    yield Selector(tuple(_OWN_REPLIES.split()), (f"~{REPLIES.physical(f'{service}-*')}",))
    if service in REPLIES.producers:
        yield Selector(("xadd", "exists", "evalsha"), (f"~{REPLIES.physical('*')}",))
        # Work that has shown something to its caller must not be begun again by another process.
        yield Selector(("set", "exists"), (f"~{CONTROL.physical()}:begun:*",))


def _keys(streams: Iterable[Stream]) -> tuple[str, ...]:
    return tuple(key for stream in streams for key in physical_keys(stream))


def _read_only(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"%R~{key}" for key in keys)


def publisher(name: str) -> str:
    """Return the user of a foreign publisher to ``ingress.<name>``."""
    return f"{_PUBLISHER}{name}"


def publisher_selectors(name: str) -> list[Selector]:
    """Return what a foreign publisher may do: add to its own stream, and nothing else."""
    return [
        Selector(GREETING),
        Selector(("xadd",), (f"%W~{{ingress.{name}:0}}",)),
    ]


def digest(password: str) -> str:
    """Return what an ACL file holds of a password."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


def words(chosen: Iterable[Selector], flavour: Flavour, *, passwords: Iterable[str] = ()) -> list[str]:
    """Return the words of ``ACL SETUSER`` after the name: all of a user's rights, and nothing it had before.

    Several passwords are all accepted, which is how a credential changes without an outage. Only digests are written;
    one that is given in place of a password stays, so that who writes rules need not know it.
    """
    digests = [password if _DIGEST.fullmatch(password) else digest(password) for password in passwords]
    state = "on" if digests else "off"
    parts = [selector.words(flavour) for selector in chosen]
    # A selector is one word, whatever is in it; root permissions are one each.
    rights = [word for part in parts for word in ([part] if part.startswith("(") else part.split())]
    return ["reset", state, *digests, "-@all", *rights]


def line(user: str, chosen: Iterable[Selector], flavour: Flavour, *, passwords: Iterable[str] = ()) -> str:
    """Return the line of an ACL file; without passwords the user exists and nobody can be it."""
    return " ".join(["user", user, *words(chosen, flavour, passwords=passwords)])


def acl_file(servers: Collection[Server], flavour: Flavour) -> str:
    """Return the ACL file of a server without any credential: users are off until they get one."""
    lines = ["user default off", *(line(user, selectors(user, servers), flavour) for user in USERS)]
    return "\n".join(lines) + "\n"
