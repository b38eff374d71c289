"""The router's settings, read once from the environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """``ROUTER_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="ROUTER_", frozen=True, populate_by_name=True)

    bus_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field("127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(10.0, validation_alias="ARCHIVE_GRACE_S")

    engines_file: Path | None = None
    """YAML with the pool that is preferred when a request leaves the choice open, the strategy, and sleeping pools."""
    concurrency: int = 1024
    """Requests in hand at once, those that wait for their turn included."""
    queue: int = 256
    """Requests that may wait here for one lane."""
    directed_s: float = 2.0
    """How long a request waits for the worker that has its prompt or session in cache, before any may take it."""
