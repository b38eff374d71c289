"""Settings of servers that sentinels watch: one takes writes, the others copy it, and one of them takes its place.

Every server begins as what the sentinels say. Before they know of any master, the first server is it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

MASTER = "archive"
"""The name of the master for sentinels and in addresses: ``sentinel://host:26379,.../archive``."""
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server or a sentinel listens."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str, *, port: int) -> "Place":
        """Read ``host`` or ``host:port``. Raises ValueError."""
        host, _, number = text.rpartition(":") if ":" in text else (text, "", "")
        if not host:
            raise ValueError(f"{text!r} is no host and port")
        return cls(host, int(number or port))


def server_settings(base: str, *, own: Place, master: Place, password: str) -> str:
    """Return the settings of a server: those of its role in the system, and its place among the others."""
    lines = [
        f"port {own.port}",
        f"replica-announce-ip {own.host}",
        f"replica-announce-port {own.port}",
        "masteruser replica",
        f"masterauth {password}",
    ]
    if own != master:
        lines.append(f"replicaof {master.host} {master.port}")
    return "\n".join([base.rstrip("\n"), *lines]) + "\n"


def sentinel_settings(*, own: Place, master: Place, password: str, folder: PurePath, quorum: int, down_ms: int) -> str:
    """Return the settings that a sentinel begins with; it rewrites them itself as it learns."""
    lines = [
        f"port {own.port}",
        f"dir {folder}",
        "protected-mode no",
        "sentinel resolve-hostnames yes",
        "sentinel announce-hostnames yes",
        f"sentinel announce-ip {own.host}",
        f"sentinel announce-port {own.port}",
        f"sentinel monitor {MASTER} {master.host} {master.port} {quorum}",
        f"sentinel auth-user {MASTER} sentinel",
        f"sentinel auth-pass {MASTER} {password}",
        f"sentinel down-after-milliseconds {MASTER} {down_ms}",
        f"sentinel failover-timeout {MASTER} {max(10_000, 4 * down_ms)}",
        f"sentinel parallel-syncs {MASTER} 1",
    ]
    return "\n".join(lines) + "\n"


async def master_of(sentinels: Sequence[Place]) -> Place | None:
    """Return the master that the first sentinel to answer knows of; None when none answers."""
    for sentinel in sentinels:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(sentinel.host, sentinel.port)
                writer.write(f"SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}\r\n".encode())
                found = await _place(reader)
                writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            continue
        if found:
            return found
    return None


async def _place(reader: asyncio.StreamReader) -> Place | None:
    """Read a reply of host and port: an array of two strings, each with its length before it."""
    lines: list[str] = []
    while len(lines) < 5:
        lines.append((await reader.readuntil(b"\r\n")).decode().strip())
        if not lines[0].startswith("*2"):
            return None
    return Place(lines[2], int(lines[4]))
