"""The gateway's settings, read once from the environment."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from archive_gateway.domain.door import is_loopback


class Settings(BaseSettings):
    """``GATEWAY_*`` and what all services share."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, populate_by_name=True)

    bus_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_BUS_URL")
    state_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias="ARCHIVE_STATE_URL")
    blobs_url: str = Field(validation_alias="ARCHIVE_BLOBS_URL")
    health_host: str = Field(default="127.0.0.1", validation_alias="ARCHIVE_HEALTH_HOST")
    health_port: int = Field(default=0, validation_alias="ARCHIVE_HEALTH_PORT")
    grace_s: float = Field(default=20.0, validation_alias="ARCHIVE_GRACE_S")

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free one."""
    api_key: SecretStr | None = None
    """The operator's own. Without it, and before any key was created, this machine is let in and nobody else."""
    tenant: str = "default"
    """Whose the requests are that come without a key, or with the operator's own."""
    ingress_tenant: str = "default"
    """Whose the documents of the ingress stream are, whatever their envelopes say."""
    max_body_mb: float = Field(default=32.0, gt=0)
    max_upload_mb: float = Field(default=200.0, gt=0)
    request_timeout_s: float = Field(default=120.0, gt=0)
    """For chats, completions and embeddings, to the last token."""
    run_timeout_s: float = Field(default=300.0, gt=0)
    """For research and agent runs."""
    max_messages: int = Field(default=4096, gt=0)
    max_message_chars: int = Field(default=4_000_000, gt=0)
    max_prompt_tokens: int = Field(default=2_000_000, gt=0)
    """Estimated from characters; the engine counts for itself."""
    max_answer_tokens: int = Field(default=1_000_000, gt=0)
    max_choices: int = Field(default=128, gt=0)
    max_concurrent: int = Field(default=1000, gt=0)
    """Requests to models that one key may have in flight in one gateway."""

    @property
    def key(self) -> str:
        """The key that requests need, or nothing."""
        return self.api_key.get_secret_value().strip() if self.api_key else ""

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the gateway."""
        return not is_loopback(self.host)
