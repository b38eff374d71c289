"""Keys, for operators. What a key is appears once, in the answer that creates or rotates it."""

import time
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from archive_contracts.keys import (
    USUAL_SCOPES,
    ApiKey,
    KeyBook,
    KeyCreated,
    KeyLimits,
    KeyRevoked,
    KeyRotated,
    KeyScope,
    digest_of,
    hint_of,
    new_key_id,
    new_secret,
)
from archive_gateway.domain.errors import BadRequest, NotThere, Unavailable
from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
YEARS_100_S = 100 * 366 * 86400
CLOSING = "close it by making a key"


class NewKey(BaseModel):
    """A key to be made. ``expires_in_s`` is seconds from now; absent is never."""

    name: Name
    tenant: Tenant | None = None
    scopes: Annotated[tuple[KeyScope, ...], Field(min_length=1)] = USUAL_SCOPES
    limits: KeyLimits = KeyLimits()
    expires_in_s: Annotated[int | None, Field(gt=0, le=YEARS_100_S)] = None


class Rotation(BaseModel):
    """How long the old key works beside the new one, in seconds."""

    overlap_s: Annotated[int, Field(ge=0, le=30 * 86400)] = 0


class KeyInfo(BaseModel):
    """A key as operators see it. Times are seconds since the epoch."""

    id: str
    name: str
    tenant: str
    scopes: tuple[KeyScope, ...]
    limits: KeyLimits
    hint: str
    active: bool
    created_at: int
    rotated_at: int | None
    expires_at: int | None
    revoked_at: int | None


class KeyMade(KeyInfo):
    """A key with the secret itself, which is shown this once."""

    key: str


class KeyList(BaseModel):
    """Every key, in the order of their creation."""

    keys: list[KeyInfo]


async def list_keys(desk: Desk, visit: Visit) -> ASGIApp:
    """List every key, revoked ones included."""
    return Json(KeyList(keys=[KeyInfo(**_fields(key)) for key in _book(desk).keys.values()]))


async def create_key(desk: Desk, visit: Visit) -> ASGIApp:
    """Create a key and show it, once."""
    visit.ticket.caller.demand_name(CLOSING)
    wanted = await visit.body(NewKey)
    book, secret, now = _book(desk), new_secret(), int(time.time())
    event = KeyCreated(
        key_id=new_key_id(),
        name=wanted.name,
        digest=digest_of(secret.encode()),
        hint=hint_of(secret),
        tenant=wanted.tenant or visit.ticket.tenant,
        scopes=tuple(dict.fromkeys(wanted.scopes)),
        limits=wanted.limits,
        created_at=now,
        expires_at=None if wanted.expires_in_s is None else now + wanted.expires_in_s,
    )
    await desk.keys.append(event, tenant=visit.ticket.tenant, correlation=visit.ticket.id)
    return Json(KeyMade(key=secret, **_fields(book.keys[event.key_id])), status=201)


async def rotate_key(desk: Desk, visit: Visit) -> ASGIApp:
    """Give a key a new secret and show it, once."""
    visit.ticket.caller.demand_name(CLOSING)
    wanted = await visit.body(Rotation)
    key, secret, now = _known(desk, visit), new_secret(), int(time.time())
    if key.revoked_at is not None:
        raise BadRequest(f"The key {key.id} is revoked.", next_step="Create a new one.", code="key_revoked")
    event = KeyRotated(
        key_id=key.id,
        digest=digest_of(secret.encode()),
        hint=hint_of(secret),
        rotated_at=now,
        old_until=now + wanted.overlap_s,
    )
    await desk.keys.append(event, tenant=visit.ticket.tenant, correlation=visit.ticket.id)
    return Json(KeyMade(key=secret, **_fields(_known(desk, visit))))


async def revoke_key(desk: Desk, visit: Visit) -> ASGIApp:
    """Revoke a key, everywhere and for good."""
    visit.ticket.caller.demand_name(CLOSING)
    key = _known(desk, visit)
    if key.revoked_at is None:
        event = KeyRevoked(key_id=key.id, revoked_at=int(time.time()))
        await desk.keys.append(event, tenant=visit.ticket.tenant, correlation=visit.ticket.id)
    return Json(KeyInfo(**_fields(_known(desk, visit))))


def _book(desk: Desk) -> KeyBook:
    book = desk.keys.book()
    if book is None:
        raise Unavailable("The keys have not been read yet.", next_step="Try again in a moment.")
    return book


def _known(desk: Desk, visit: Visit) -> ApiKey:
    key_id = visit.id_of("key", "key")
    if key := _book(desk).keys.get(key_id):
        return key
    raise NotThere(f"There is no key {key_id!r}.", next_step="See /v1/keys for those that are.", code="key_not_found")


def _fields(key: ApiKey) -> dict[str, Any]:
    now = time.time()
    shown = key.model_dump(include=set(KeyInfo.model_fields), exclude={"limits"})
    return shown | {"limits": key.limits, "active": key.revoked_at is None and not key.expired(now)}
