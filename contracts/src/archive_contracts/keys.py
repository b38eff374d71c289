"""API keys: what happened to them, and what follows from it.

A key is 32 random bytes, so that its plain SHA-256 keeps it: nothing but the digest is ever stored, and no dictionary
helps against it.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archive_contracts.base import Message, Model

KeyScope = Literal["inference", "platform", "operator"]
"""inference: models. platform: documents, memories, research, agents. operator: keys, and everybody's usage."""

USUAL_SCOPES: tuple[KeyScope, ...] = ("inference", "platform")
BOOK = "all"
"""The entity of the keys' one journal."""
_PREFIX = "sk-archive-"


class KeyLimits(Model):
    """What one key may use; absent is unlimited."""

    requests_per_minute: Annotated[int | None, Field(gt=0)] = None
    tokens_per_minute: Annotated[int | None, Field(gt=0)] = None
    concurrent: Annotated[int | None, Field(gt=0, description="Requests in flight at once.")] = None


class KeyCreated(Message):
    """A key exists. Times are seconds since the epoch."""

    type: ClassVar[str] = "key.created.v1"
    key_id: str
    name: str
    digest: Annotated[str, Field(description="SHA-256 of the key, hexadecimal.")]
    hint: Annotated[str, Field(description="Its last four characters, for people to tell keys apart.")]
    tenant: str = "default"
    scopes: tuple[KeyScope, ...] = USUAL_SCOPES
    limits: KeyLimits = KeyLimits()
    created_at: int
    expires_at: int | None = None


class KeyRotated(Message):
    """A key has a new secret; the old one works until ``old_until``."""

    type: ClassVar[str] = "key.rotated.v1"
    key_id: str
    digest: str
    hint: str
    rotated_at: int
    old_until: int


class KeyRevoked(Message):
    """A key is void from now on."""

    type: ClassVar[str] = "key.revoked.v1"
    key_id: str
    revoked_at: int


KeyEvent = KeyCreated | KeyRotated | KeyRevoked


class ApiKey(Model):
    """A key as its events made it."""

    id: str
    name: str
    tenant: str
    scopes: tuple[KeyScope, ...]
    limits: KeyLimits
    hint: str
    digest: str
    old_digest: str = ""
    old_until: int = 0
    created_at: int
    rotated_at: int | None = None
    expires_at: int | None = None
    revoked_at: int | None = None

    def valid(self, digest: str, now: float) -> bool:
        """Whether this digest of it opens the door at ``now``, seconds since the epoch."""
        if self.revoked_at is not None or self.expired(now):
            return False
        return digest == self.digest or (digest == self.old_digest and now < self.old_until)

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


class KeyBook:
    """All keys: the fold of their journal."""

    def __init__(self, events: Iterable[KeyEvent] = ()) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._digests: dict[str, str] = {}
        for event in events:
            self.take(event)

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """Every key there ever was, by id, in the order of their creation."""
        return self._keys

    def take(self, event: KeyEvent) -> None:
        """Take in one more event; one about an unknown key changes nothing."""
        if isinstance(event, KeyCreated):
            self._put(_created(event))
        elif known := self._keys.get(event.key_id):
            self._put(_changed(known, event))

    def find(self, secret: bytes) -> tuple[ApiKey, str] | None:
        """Return the key that a secret belongs or once belonged to, with the secret's digest; ask it `valid`."""
        digest = digest_of(secret)
        # A look-up by a digest gives nothing away: who can choose it knows the secret already.
        key_id = self._digests.get(digest)
        return (self._keys[key_id], digest) if key_id else None

    def _put(self, key: ApiKey) -> None:
        self._keys[key.id] = key
        for digest in (key.digest, key.old_digest):
            if digest:
                self._digests[digest] = key.id


def _created(event: KeyCreated) -> ApiKey:
    return ApiKey(
        id=event.key_id,
        name=event.name,
        tenant=event.tenant,
        scopes=event.scopes,
        limits=event.limits,
        hint=event.hint,
        digest=event.digest,
        created_at=event.created_at,
        expires_at=event.expires_at,
    )


def _changed(key: ApiKey, event: KeyRotated | KeyRevoked) -> ApiKey:
    if isinstance(event, KeyRevoked):
        return key.model_copy(update={"revoked_at": key.revoked_at or event.revoked_at})
    if key.revoked_at is not None:
        return key
    return key.model_copy(
        update={
            "old_digest": key.digest,
            "old_until": event.old_until,
            "digest": event.digest,
            "hint": event.hint,
            "rotated_at": event.rotated_at,
        }
    )


def digest_of(secret: bytes) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(secret).hexdigest()


def new_key_id() -> str:
    """Return an id for a key."""
    return f"key_{secrets.token_hex(8)}"


def new_secret() -> str:
    """Return a key to hand out, once."""
    return _PREFIX + secrets.token_urlsafe(32)


def hint_of(secret: str) -> str:
    """Return what is shown of a key afterwards."""
    return secret[-4:]
