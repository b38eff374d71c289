"""Whether a server is set up to keep what the bus promises."""

from typing import Any

from redis.exceptions import ResponseError

from archive_bus._errors import BusError, EvictingServer, NotDurable
from archive_bus._options import Durability
from archive_bus._writer import Writer


async def look(writer: Writer, durability: Durability, *, evicts_at_will: bool, timeout: float) -> list[BusError]:
    """Return what has to be changed on a server.

    A server that ``evicts_at_will`` holds nothing that may not be lost. What the credential may not ask is not held
    against the server.
    """
    facts = _facts(await writer.call("INFO", timeout=timeout))
    wrong: list[BusError] = []
    policy = facts.get("maxmemory_policy", "noeviction")
    if not evicts_at_will and policy != "noeviction":
        wrong.append(EvictingServer(f"maxmemory-policy is {policy}: when memory is full, messages vanish unhandled"))
    if durability is Durability.MEMORY:
        return wrong
    if facts.get("aof_enabled") != "1":
        wrong.append(NotDurable(f"appendonly is off, and durability={durability} was asked for"))
    elif durability is Durability.AOF and (policy := await _fsync(writer, timeout)) != "always":
        wrong.append(NotDurable(f"appendfsync is {policy}: a crash of the server loses acknowledged messages"))
    if durability is Durability.REPLICATED and facts.get("connected_slaves", "0") == "0":
        wrong.append(NotDurable("no replica is connected, and durability=replicated was asked for"))
    return wrong


async def _fsync(writer: Writer, timeout: float) -> str:
    try:
        reply: Any = await writer.call("CONFIG", "GET", "appendfsync", timeout=timeout)
    except ResponseError:
        return "always"  # this credential may not ask
    return reply[1].decode() if reply else "unknown"


def _facts(reply: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines if value}
