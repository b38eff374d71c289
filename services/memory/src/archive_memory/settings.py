"""Memory's settings, read once from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """``MEMORY_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="MEMORY_", frozen=True, populate_by_name=True)

    bus_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field("127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(10.0, validation_alias="ARCHIVE_GRACE_S")

    dir: Path = Path("memory")
    """Where the partition files are; one process owns them at a time."""
    index: Literal["exact", "hnsw"] = "exact"
    """Exact up to about 250,000 vectors; hnsw above, or for high query rates."""
    embed_pool: str = "embed"
    """The engine lane that turns texts into vectors."""
    embed_patience_s: float = 600.0
    """How long a document waits for an embedding engine that is away."""
    blob_grace_s: float = 60.0
    """How long the stored bytes of a deleted document are kept: uploads of the same content under way need them."""
    batches_at_once: int = 2
