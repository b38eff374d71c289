"""API keys, made and ended over the bus: whoever can read the data folder may say who comes in.

The gateway would not do: open to every program of the machine while there is no key, it lets none of them make one.
"""

import time
from collections.abc import Callable
from typing import Any

from archive_bus import Bus
from archive_cli import over_bus
from archive_cli.errors import UsageError
from archive_cli.runinfo import RunInfo
from archive_contracts.keys import (
    BOOK,
    ApiKey,
    KeyBook,
    KeyCreated,
    KeyEvent,
    KeyLimits,
    KeyRevoked,
    KeyRotated,
    KeyScope,
    digest_of,
    hint_of,
    new_key_id,
    new_secret,
)
from archive_contracts.streams import KEYS_JOURNAL

Json = dict[str, Any]


def list_keys(info: RunInfo) -> list[Json]:
    """Return every key there ever was, oldest first; never the keys themselves. Raises NotRunningError."""

    async def ask(bus: Bus) -> list[Json]:
        return [_shown(key) for key in (await _book(bus)).keys.values()]

    return over_bus.run(info.bus_url, info.state_url, ask)


def create_key(
    info: RunInfo,
    name: str,
    *,
    tenant: str,
    scopes: tuple[KeyScope, ...],
    limits: KeyLimits,
    expires_in_s: int | None = None,
) -> Json:
    """Make a key and return it with its secret, which nobody can ask for again. Raises NotRunningError."""
    now, secret = int(time.time()), new_secret()
    event = KeyCreated(
        key_id=new_key_id(),
        name=name,
        digest=digest_of(secret.encode()),
        hint=hint_of(secret),
        tenant=tenant,
        scopes=scopes,
        limits=limits,
        created_at=now,
        expires_at=None if expires_in_s is None else now + expires_in_s,
    )
    return _change(info, lambda _: event) | {"key": secret}


def rotate_key(info: RunInfo, key_id: str, *, overlap_s: int) -> Json:
    """Give a key a new secret; the old one works for another ``overlap_s`` seconds.

    Raises:
        UsageError: there is no such key, or it is revoked.
        NotRunningError: the bus does not answer.
    """
    now, secret = int(time.time()), new_secret()

    def rotate(book: KeyBook) -> KeyEvent:
        if _known(book, key_id).revoked_at is not None:
            raise UsageError(f"The key {key_id} is revoked.", code="key_revoked", next_step="`archive keys create`")
        return KeyRotated(
            key_id=key_id,
            digest=digest_of(secret.encode()),
            hint=hint_of(secret),
            rotated_at=now,
            old_until=now + overlap_s,
        )

    return _change(info, rotate) | {"key": secret}


def revoke_key(info: RunInfo, key_id: str) -> Json:
    """Make a key void at every gateway. Raises as rotate_key."""

    def revoke(book: KeyBook) -> KeyEvent:
        return KeyRevoked(key_id=_known(book, key_id).id, revoked_at=int(time.time()))

    return _change(info, revoke)


def _change(info: RunInfo, decide: Callable[[KeyBook], KeyEvent]) -> Json:
    async def ask(bus: Bus) -> Json:
        event = decide(await _book(bus))
        await bus.append(event, to=KEYS_JOURNAL, entity=BOOK, timeout=5.0)
        return _shown((await _book(bus)).keys[event.key_id])

    return over_bus.run(info.bus_url, info.state_url, ask)


async def _book(bus: Bus) -> KeyBook:
    received = await bus.journal(KEYS_JOURNAL, BOOK)
    messages = (entry.message for entry in received)
    return KeyBook(message for message in messages if isinstance(message, KeyCreated | KeyRotated | KeyRevoked))


def _known(book: KeyBook, key_id: str) -> ApiKey:
    if key := book.keys.get(key_id):
        return key
    raise UsageError(f"There is no key {key_id!r}.", code="no_such_key", next_step="`archive keys list`")


def _shown(key: ApiKey) -> Json:
    now = time.time()
    state = "revoked" if key.revoked_at is not None else "expired" if key.expired(now) else "active"
    return key.model_dump(mode="json", exclude={"digest", "old_digest"}) | {"state": state}
