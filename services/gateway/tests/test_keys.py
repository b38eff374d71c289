"""Keys, over HTTP and over their journal: who comes in with them, and when no longer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from archive_contracts.keys import BOOK, KeyBook, KeyCreated, KeyRevoked, KeyRotated, digest_of
from archive_contracts.streams import KEYS_JOURNAL
from archive_gateway.domain.door import Guard
from archive_gateway.domain.errors import Unavailable, WrongKey

ROOT = {"authorization": "Bearer root"}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
Make = Callable[..., Awaitable[Any]]


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def make(closed: Any) -> Make:
    """Create a key over HTTP."""

    async def making(**wanted: Any) -> Any:
        reply = await closed.http.post("/v1/keys", json={"name": "k"} | wanted, headers=ROOT)
        assert reply.status_code == 201, reply.text
        return reply.json()

    return making


async def test_created_key_opens_its_scopes(closed: Any, make: Make) -> None:
    made = await make(scopes=["inference"], tenant="acme")
    models = await closed.http.get("/v1/models", headers=bearer(made["key"]))
    documents = await closed.http.get("/v1/documents", headers=bearer(made["key"]))
    keys = await closed.http.get("/v1/keys", headers=bearer(made["key"]))
    assert (models.status_code, documents.status_code, keys.status_code) == (200, 403, 403)
    assert documents.json()["error"]["code"] == "insufficient_scope"


async def test_key_is_kept_as_digest(closed: Any, make: Make, bus_as: Any) -> None:
    made = await make()
    async with bus_as("operator") as bus:
        [entry] = await bus.journal(KEYS_JOURNAL, BOOK)
    assert made["key"] not in str(entry)
    assert entry.message.digest == digest_of(made["key"].encode())
    listed = await closed.http.get("/v1/keys", headers=ROOT)
    [shown] = listed.json()["keys"]
    assert made["key"] not in listed.text
    assert shown["hint"] == made["key"][-4:]


async def test_revoked_key_is_void_everywhere(closed: Any, make: Make, start: Any) -> None:
    made = await make()
    async with start(api_key="root") as other:
        assert (await other.http.get("/v1/models", headers=bearer(made["key"]))).status_code == 200
        await closed.http.delete(f"/v1/keys/{made['id']}", headers=ROOT)
        assert (await closed.http.get("/v1/models", headers=bearer(made["key"]))).status_code == 401
        async with asyncio.timeout(5):
            while (await other.http.get("/v1/models", headers=bearer(made["key"]))).status_code != 401:
                await asyncio.sleep(0.02)


async def test_rotated_key_overlaps_when_asked(closed: Any, make: Make) -> None:
    made = await make()
    path = f"/v1/keys/{made['id']}/rotate"
    second = (await closed.http.post(path, json={"overlap_s": 60}, headers=ROOT)).json()
    for secret in (made["key"], second["key"]):
        assert (await closed.http.get("/v1/models", headers=bearer(secret))).status_code == 200
    await closed.http.post(path, json={}, headers=ROOT)
    for secret in (made["key"], second["key"]):
        reply = await closed.http.get("/v1/models", headers=bearer(secret))
        assert reply.json()["error"]["code"] == "invalid_api_key"


async def test_revoked_key_cannot_rotate(closed: Any, make: Make) -> None:
    made = await make()
    await closed.http.delete(f"/v1/keys/{made['id']}", headers=ROOT)
    reply = await closed.http.post(f"/v1/keys/{made['id']}/rotate", json={}, headers=ROOT)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "key_revoked")
    unknown = await closed.http.delete("/v1/keys/key_0", headers=ROOT)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "key_not_found")


async def test_first_key_closes_the_door(gateway: Any, bus_as: Any) -> None:
    assert (await gateway.http.get("/v1/models")).status_code == 200
    by_anybody = await gateway.http.post("/v1/keys", json={"name": "mine"})
    assert (by_anybody.status_code, by_anybody.json()["error"]["code"]) == (403, "operator_key_needed")
    created = KeyCreated(key_id="key_1", name="n", digest=digest_of(b"secret"), hint="h", created_at=0, expires_at=1)
    async with bus_as("operator") as bus:
        await bus.append(created, to=KEYS_JOURNAL, entity=BOOK)
    async with asyncio.timeout(5):
        while (await gateway.http.get("/v1/models")).status_code != 401:
            await asyncio.sleep(0.02)
    assert "has expired" in (await gateway.http.get("/v1/models", headers=bearer("secret"))).text
    assert (await gateway.http.get("/livez")).status_code == 200


async def test_key_decides_the_tenant(closed: Any, make: Make, router: Any, peer: Any) -> None:
    made = await make(tenant="acme")
    reply = await closed.http.post("/v1/chat/completions", json=ASKED, headers=bearer(made["key"]))
    assert reply.status_code == 200
    assert router.tenants == ["acme"]


@pytest.mark.parametrize(
    "wanted",
    [{}, {"name": ""}, {"name": "n", "scopes": []}, {"name": "n", "scopes": ["all"]}, {"name": "n", "tenant": "a:b"}],
)
async def test_bad_key_is_refused(closed: Any, wanted: dict[str, Any]) -> None:
    reply = await closed.http.post("/v1/keys", json=wanted, headers=ROOT)
    assert reply.status_code == 400


class Ring:
    """Keys at hand, or not read yet."""

    def __init__(self, book: KeyBook | None) -> None:
        self._book = book

    def book(self) -> KeyBook | None:
        return self._book


def test_unread_keys_open_nothing() -> None:
    guard = Guard(Ring(None), key="", tenant="t", clock=lambda: 0.0)
    with pytest.raises(Unavailable):
        guard.admit("/v1/models", {})
    with_key = Guard(Ring(None), key="root", tenant="t", clock=lambda: 0.0)
    assert with_key.admit("/v1/models", {b"authorization": b"Bearer root"}).key == "gateway"


def test_refusal_says_why() -> None:
    created = KeyCreated(key_id="k", name="n", digest=digest_of(b"a"), hint="aaaa", created_at=0, expires_at=9)
    rotated = KeyRotated(key_id="k", digest=digest_of(b"b"), hint="bbbb", rotated_at=1, old_until=2)
    for events, secret, now, why in (
        ([created], b"a", 9.0, "expired"),
        ([created, rotated], b"a", 2.0, "rotated"),
        ([created, KeyRevoked(key_id="k", revoked_at=1)], b"a", 2.0, "revoked"),
        ([created], b"c", 2.0, "missing or wrong"),
    ):
        guard = Guard(Ring(KeyBook(events)), key="", tenant="t", clock=lambda now=now: now)
        with pytest.raises(WrongKey, match=why):
            guard.admit("/x", {b"authorization": b"Bearer " + secret})
