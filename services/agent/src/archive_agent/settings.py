"""The agent's settings, read once from the environment."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """``AGENT_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="AGENT_", frozen=True, populate_by_name=True)

    bus_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field("127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(10.0, validation_alias="ARCHIVE_GRACE_S")

    runs_at_once: int = 16
