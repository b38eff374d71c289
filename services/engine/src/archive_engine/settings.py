"""The engine worker's settings, read once from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from archive_contracts.chat import Capability
from archive_contracts.engine import Tier


class Settings(BaseSettings):
    """``ENGINE_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="ENGINE_", frozen=True, populate_by_name=True)

    bus_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field("127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(10.0, validation_alias="ARCHIVE_GRACE_S")

    kind: Literal["openai", "minilm"] = "openai"
    """An OpenAI-compatible server at ``base_url``, or the built-in embedder."""
    name: str = "engine"
    """The engine's name for people."""
    pool: str = "small"
    """The lane to pull from."""
    base_url: str = ""
    api_key: SecretStr | None = None
    slots: int = 0
    """Requests to serve at once; 0 asks the server, and takes 4 where it does not say."""
    model: str = ""
    """The only model to offer of those the server has; empty offers all."""
    capabilities: tuple[Capability, ...] = ()
    """What the engine can do; empty takes what its kind usually can."""
    stream_upstream: bool = False
    """Ask for a stream even when the caller did not, for servers that otherwise do not notice a cancelled call."""
    model_dir: Path = Path("models")
    """Where the built-in embedder keeps the model it builds."""
    threads: int = 1
    tier: Tier = "balanced"
    tags: tuple[str, ...] = ()
    context: int = 0
    """Tokens of prompt and answer together; 0 asks the server."""
    cost_in: float = 0.0
    """Price of a million prompt tokens."""
    cost_out: float = 0.0
    """Price of a million completion tokens."""
    requests_per_minute: int = 0
    """What the engine allows this worker; 0: no limit."""
    tokens_per_minute: int = 0
    meter_streams: bool = True
    """Ask for usage at the end of a stream also when the client did not, and keep it from the client."""
    first_token_s: float = 120.0
    """Longest silence before the first token."""
    idle_s: float = 30.0
    """Longest silence after it."""
    host: bool = False
    """Run workers for the engines that were added by API, too."""
    key_variables: tuple[str, ...] = ()
    """Variables that the key of such an engine may be taken from."""
    keys_dir: Path | None = None
    """Folder that it may be read from."""
    heartbeat_s: float = 2.0
