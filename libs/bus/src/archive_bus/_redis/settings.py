"""Whether a server is set up to keep what the bus promises."""

from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from archive_bus._errors import BusError, EvictingServer, NotDurable
from archive_bus._options import Durability
from archive_bus._writer import Writer


@dataclass(frozen=True, slots=True)
class Look:
    """What has to be changed on a server, and what nobody knows of it who may ask no more."""

    wrong: list[BusError] = field(default_factory=list[BusError])
    unknown: list[str] = field(default_factory=list[str])


async def look(writer: Writer, durability: Durability, *, evicts_at_will: bool, timeout: float) -> Look:
    """Ask a server how it is set up.

    One that ``evicts_at_will`` holds nothing that may not be lost. What the credential may not ask is not held against
    the server, but it is not known either.
    """
    facts = _facts(await writer.call("INFO", timeout=timeout))
    found = Look()
    wrong = found.wrong
    policy = facts.get("maxmemory_policy", "noeviction")
    if not evicts_at_will and policy != "noeviction":
        wrong.append(EvictingServer(f"maxmemory-policy is {policy}: when memory is full, messages vanish unhandled"))
    if durability is Durability.MEMORY:
        return found
    if facts.get("aof_enabled") != "1":
        wrong.append(NotDurable(f"appendonly is off, and durability={durability} was asked for"))
    elif durability is Durability.AOF:
        await _see_fsync(found, writer, timeout)
    if durability is Durability.REPLICATED and facts.get("connected_slaves", "0") == "0":
        wrong.append(NotDurable("no replica is connected, and durability=replicated was asked for"))
    return found


async def _see_fsync(found: Look, writer: Writer, timeout: float) -> None:
    try:
        reply: Any = await writer.call("CONFIG", "GET", "appendfsync", timeout=timeout)
    except ResponseError:
        # The rules of a service keep it from CONFIG GET, which shows passwords too.
        found.unknown.append("this credential may not see whether appendfsync is always, as durability=aof needs")
        return
    policy = reply[1].decode() if reply else "unknown"
    if policy != "always":
        found.wrong.append(NotDurable(f"appendfsync is {policy}: a crash of the server loses acknowledged messages"))


def _facts(reply: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines if value}
