"""All keys of a server as bytes, and back: streams with their groups, pending entries, counters and dead letters.

Each key is of one moment, all of them are not. A message that was handled in between is delivered again after a
restore, which handlers bear; so what handlers keep elsewhere is to be saved after the keys.
"""

import struct
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from archive_bus._addresses import address_of
from archive_bus._errors import BusError, BusUnavailable, WrongPassword
from archive_bus._link import AWAY
from archive_bus._options import Durability
from archive_contracts.streams import STREAMS, Server

_HEAD = struct.Struct(">IqI")
_AT_ONCE = 200


class NotEmpty(BusError):
    """A server that is to be filled holds messages."""

    code = "not_empty"
    next_step = "Restore into a server that holds none: an empty installation, or another database or volume."


class VaultRefused(BusError):
    """A server does not take what was saved, or does not let it be saved."""

    code = "vault_refused"
    next_step = "Restore into a server of the version that was saved or a newer one, with the operator's credential."


@dataclass(frozen=True, slots=True)
class SavedKey:
    """One key: its name, the time of its end in ms since 1970 (0: none), its value as DUMP gives it."""

    name: bytes
    ends_ms: int
    value: bytes

    def write(self, file: IO[bytes]) -> None:
        """Append it to a file."""
        file.write(_HEAD.pack(len(self.name), self.ends_ms, len(self.value)))
        file.write(self.name)
        file.write(self.value)


def read_keys(file: IO[bytes]) -> Iterator[SavedKey]:
    """Yield the keys of a file.

    Raises:
        VaultRefused: the file ends in the middle of a key.
    """
    while head := file.read(_HEAD.size):
        try:
            name, ends_ms, value = _HEAD.unpack(head)
        except struct.error as error:
            raise VaultRefused("the saved keys end in the middle") from error
        saved = SavedKey(file.read(name), ends_ms, file.read(value))
        if len(saved.name) != name or len(saved.value) != value:
            raise VaultRefused("the saved keys end in the middle")
        yield saved


async def save_keys(url: str) -> AsyncGenerator[SavedKey]:
    """Yield every key of the server of the bus, but for streams that may be lost.

    Raises:
        BusUnavailable: the server does not answer.
        WrongPassword: it does not take the credential.
    """
    with _reported():
        async with address_of(url, Durability.MEMORY).client() as client:
            names: list[bytes] = []
            async for name in client.scan_iter(count=1000):
                names.append(name)
                if len(names) == _AT_ONCE:
                    for saved in await _saved(client, names):
                        yield saved
                    names.clear()
            for saved in await _saved(client, names):
                yield saved


async def load_keys(url: str, keys: Iterator[SavedKey]) -> int:
    """Put saved keys into a server that holds no messages; return how many. Keys whose time is over are left out.

    Raises:
        NotEmpty: a stream of the server holds messages.
        VaultRefused: the server does not take a value.
        BusUnavailable: it does not answer.
        WrongPassword: it does not take the credential.
    """
    with _reported():
        async with address_of(url, Durability.MEMORY).client() as client:
            await _require_empty(client)
            seconds, micros = await client.time()
            now_ms, count = int(seconds) * 1000 + int(micros) // 1000, 0
            for saved in keys:
                if not saved.ends_ms or saved.ends_ms > now_ms:
                    # A bootstrap has made empty streams already: what was saved takes their place.
                    await client.restore(saved.name, saved.ends_ms, saved.value, replace=True, absttl=True)
                    count += 1
            return count


async def _require_empty(client: Any) -> None:
    async for name in client.scan_iter(count=1000, _type="stream"):
        if _kept(name) and (length := await client.xlen(name)):
            raise NotEmpty(f"{name.decode(errors='replace')} holds {length} messages")


async def _saved(client: Any, names: list[bytes]) -> list[SavedKey]:
    kept = [name for name in names if _kept(name)]
    pipeline = client.pipeline(transaction=False)
    for name in kept:
        pipeline.execute_command("PEXPIRETIME", name)
        pipeline.dump(name)
    replies: list[Any] = await pipeline.execute()
    rows = zip(kept, replies[::2], replies[1::2], strict=True)
    # A key that went away between the look and the answer has no value.
    return [SavedKey(name, max(0, int(ends)), value) for name, ends, value in rows if value is not None]


def _kept(name: bytes) -> bool:
    stream = STREAMS.get(name.removeprefix(b"{").partition(b":")[0].decode(errors="replace"))
    return stream is None or stream.server is Server.BUS


@contextmanager
def _reported() -> Generator[None]:
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise WrongPassword(f"the server refuses the credential: {error}") from error
    except AWAY as error:
        raise BusUnavailable(f"the server is away: {error}") from error
    except ResponseError as error:
        raise VaultRefused(f"the server refuses: {error}") from error
