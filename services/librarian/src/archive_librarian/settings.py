"""The librarian's settings, read once from the environment."""

from pathlib import Path

from pydantic import Field, IPvAnyNetwork
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """``LIBRARIAN_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="LIBRARIAN_", frozen=True, populate_by_name=True)

    bus_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field("127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(10.0, validation_alias="ARCHIVE_GRACE_S")

    watch_dir: Path | None = None
    """Folder whose files are ingested; None watches nothing."""
    watch_every_s: float = 1.0
    watch_tenant: str = "default"
    workers: int = 2
    """Processes that extract."""
    documents_at_once: int = 5
    chunk_tokens: int = 512
    chunk_overlap: int = 64
    fetch_allow: tuple[IPvAnyNetwork, ...] = ()
    """Networks that are not on the public internet and may be asked for documents all the same."""
    fetch_ports: tuple[int, ...] = (80, 443)
    fetch_max_mb: float = 200.0
    fetch_timeout_s: float = 300.0
    """How long one download may take, redirects included."""
