"""Keys follow from their events."""

from archive_contracts.keys import (
    KeyBook,
    KeyCreated,
    KeyRevoked,
    KeyRotated,
    digest_of,
    hint_of,
    new_key_id,
    new_secret,
)

OLD, NEW = b"sk-archive-old", b"sk-archive-new"
CREATED = KeyCreated(key_id="key_1", name="n", digest=digest_of(OLD), hint="-old", created_at=10, expires_at=100)
ROTATED = KeyRotated(key_id="key_1", digest=digest_of(NEW), hint="-new", rotated_at=20, old_until=30)
REVOKED = KeyRevoked(key_id="key_1", revoked_at=40)


def opens(book: KeyBook, secret: bytes, now: float) -> bool:
    found = book.find(secret)
    return bool(found and found[0].valid(found[1], now))


def test_created_key_opens_until_it_expires() -> None:
    book = KeyBook([CREATED])
    assert opens(book, OLD, 99)
    assert not opens(book, OLD, 100)
    assert book.find(NEW) is None


def test_rotated_key_overlaps() -> None:
    book = KeyBook([CREATED, ROTATED])
    assert opens(book, OLD, 29)
    assert not opens(book, OLD, 30)
    assert opens(book, NEW, 30)
    assert book.keys["key_1"].hint == "-new"


def test_revoked_key_stays_void() -> None:
    book = KeyBook([CREATED, REVOKED, ROTATED, KeyRevoked(key_id="key_1", revoked_at=50)])
    assert not opens(book, OLD, 41)
    assert not opens(book, NEW, 41)
    assert book.keys["key_1"].revoked_at == 40


def test_unknown_key_changes_nothing() -> None:
    assert not KeyBook([REVOKED, ROTATED]).keys


def test_secrets_are_long_and_different() -> None:
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == len({new_key_id() for _ in range(50)}) == 50
    assert min(map(len, secrets)) > 50
    assert all(secret.endswith(hint_of(secret)) for secret in secrets)
