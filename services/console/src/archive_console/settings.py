"""The console's settings, read once from the environment."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from archive_console.domain.door import is_loopback
from archive_finding import USUAL


class Settings(BaseSettings):
    """``CONSOLE_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_", frozen=True, populate_by_name=True)

    bus_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field(default="127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(default=0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(default=20.0, validation_alias="ARCHIVE_GRACE_S")

    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    """0 takes a free one."""
    dir: Path
    """Where conversations, notes of running downloads and the secret of the sessions lie."""
    api_key: SecretStr | None = Field(default=None, validation_alias="GATEWAY_API_KEY")
    """The gateway's key opens this door too, and so does every living key that was created.

    Without any, anybody on this machine is let in and nobody else.
    """
    operator_bus_url: str = ""
    """The operator's address of the bus, for the pages of operators; empty: the service's own."""
    operator_state_url: str = ""
    tenant: str = "default"
    max_upload_mb: float = Field(default=200.0, gt=0)
    engine_ports: tuple[int, ...] = tuple(port for port, _ in USUAL)
    """Ports of this machine on which model servers of other programs are looked for; empty looks for none."""
    answer_timeout_s: float = Field(default=600.0, gt=0)
    """How long an answer may take, to its last word."""

    @property
    def key(self) -> str:
        """The key that people log in with, or nothing."""
        return self.api_key.get_secret_value().strip() if self.api_key else ""

    @property
    def operator_urls(self) -> tuple[str, str]:
        """The addresses of the bus and the state server for the pages of operators."""
        return self.operator_bus_url or self.bus_url, self.operator_state_url or self.state_url

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the console."""
        return not is_loopback(self.host)
