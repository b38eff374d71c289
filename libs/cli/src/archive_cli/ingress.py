"""Doors for foreign publishers: a stream, a user on the server, and the rule of who and what comes in by it."""

import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archive_bus import Bus, create_group, create_users, reload_users
from archive_cli import over_bus
from archive_cli.errors import UsageError
from archive_cli.home import Home, write_private
from archive_cli.valkey import PUBLISHERS
from archive_contracts import access
from archive_contracts.publishers import LIST, IngressCreated, IngressEvent, IngressRemoved
from archive_contracts.streams import INGRESS, PUBLISHERS_JOURNAL, Server, ingress

Json = dict[str, Any]
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
TYPES = tuple(message.type for message in INGRESS.messages)


def check(name: str, types: Sequence[str]) -> None:
    """Refuse a name that cannot be part of a key, and types that no ingress takes. Raises UsageError."""
    if not _NAME.fullmatch(name) or name == "default":
        raise UsageError(
            f"{name!r} cannot name an ingress.",
            code="bad_name",
            next_step="small letters, digits and hyphens, a letter first; `default` is there already",
        )
    if unknown := sorted(set(types) - set(TYPES)):
        raise UsageError(f"No ingress takes {unknown[0]}.", code="bad_type", next_step=f"of {', '.join(TYPES)}")


def create(bus_url: str, home: Home | None, name: str, *, tenant: str, types: Sequence[str]) -> Json:
    """Open a door and return it with the password of its user.

    ``home`` is the data folder whose embedded server is meant; else users are set on the server itself, for which the
    address needs an administrator's credential. A door that is there gets the new rule and keeps its password.

    Raises:
        CliError: the server refuses, or is away.
    """
    user, stream = access.publisher(name), ingress(name)
    told = IngressCreated(name=name, tenant=tenant, types=tuple(types), created_at=int(time.time()))

    async def work(bus: Bus) -> str:
        await create_group(bus_url, stream, "gateway")
        password = secrets.token_urlsafe(24)
        if home is not None:
            password = _kept(home, name, password)
            _write_users(home, user, password, name)
            await reload_users(bus_url)
        else:
            await create_users(bus_url, {user: [password]}, servers={Server.BUS})
        await bus.append(told, to=PUBLISHERS_JOURNAL, entity=LIST, timeout=5.0)
        return password

    password = over_bus.run(bus_url, bus_url, work)
    return {"name": name, "stream": stream.physical(), "user": user, "password": password} | _shown(told)


def remove(bus_url: str, home: Home | None, name: str) -> None:
    """Close a door: its user is off, and nobody reads its stream. Raises as create."""

    async def work(bus: Bus) -> None:
        await bus.append(
            IngressRemoved(name=name, removed_at=int(time.time())), to=PUBLISHERS_JOURNAL, entity=LIST, timeout=5.0
        )
        if home is not None:
            (home.path / PUBLISHERS / name).unlink(missing_ok=True)
            _write_users(home, access.publisher(name), "", name)
            await reload_users(bus_url)
        else:
            await create_users(bus_url, {access.publisher(name): []}, servers={Server.BUS})

    if name not in {door["name"] for door in doors(bus_url)}:
        raise UsageError(f"There is no ingress {name!r}.", code="no_such_ingress", next_step="`archive ingress list`")
    over_bus.run(bus_url, bus_url, work)


def doors(bus_url: str) -> list[Json]:
    """Return every open door. Raises as create."""

    async def work(bus: Bus) -> list[Json]:
        newest: dict[str, IngressEvent] = {}
        for received in await bus.journal(PUBLISHERS_JOURNAL, LIST):
            if isinstance(received.message, IngressCreated | IngressRemoved):
                newest[received.message.name] = received.message
        return [{"name": told.name} | _shown(told) for told in newest.values() if isinstance(told, IngressCreated)]

    return over_bus.run(bus_url, bus_url, work)


def _shown(told: IngressCreated) -> Json:
    return {"tenant": told.tenant, "types": list(told.types), "created_at": told.created_at}


def _kept(home: Home, name: str, password: str) -> str:
    """Keep the password for the next runs; one that is there stays."""
    file = home.path / PUBLISHERS / name
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if not file.exists():
        write_private(file, password)
    return file.read_text(encoding="utf-8").strip()


def _write_users(home: Home, user: str, password: str, name: str) -> None:
    """Put a publisher's line into the ACL file of the embedded server, or take it out when there is no password."""
    path: Path = home.path / "bus" / "users.acl"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.split()[1:2] != [user]]
    if password:
        chosen = access.publisher_selectors(name)
        lines.append(access.line(user, chosen, access.Flavour.VALKEY_9, passwords=[password]))
    write_private(path, "\n".join(lines) + "\n")
