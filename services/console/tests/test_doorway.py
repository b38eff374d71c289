"""Who is let in, what every answer carries, and what goes wrong."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from archive_bus import Delivery
from archive_contracts.documents import DocumentInfo
from archive_contracts.keys import BOOK, KeyCreated, KeyRevoked, digest_of
from archive_contracts.memory import DocumentsFound, ListDocuments
from archive_contracts.streams import KEYS_JOURNAL, MEMORY_QUERIES
from archive_telemetry import SettingError
from archive_testkit.waiting import eventually

KEY = "a long secret key"


async def test_open_door_shows_pages(console: Any) -> None:
    page = await console.http.get("/")
    assert page.status_code == 200
    assert "What would you like to know?" in page.text


async def test_every_answer_is_guarded(console: Any) -> None:
    for path in ("/", "/documents", "/system", "/login", "/nothing", "/livez"):
        headers = (await console.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


async def test_page_asks_nobody_else(console: Any) -> None:
    page = await console.page("/")
    for attribute in ('src="http', 'href="http', "<style", "<script>", " style=", " onclick="):
        assert attribute not in page


async def test_first_page_is_light(console: Any) -> None:
    page = await console.http.get("/")
    loaded = [await console.http.get(path) for path in set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))]
    assert len(loaded) >= 5
    assert sum(answer.num_bytes_downloaded for answer in [page, *loaded]) < 50_000


async def test_static_files_are_kept_for_good(console: Any) -> None:
    page = await console.page("/")
    path = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    found = await console.http.get(path)
    assert "immutable" in found.headers["cache-control"]
    assert found.headers["content-type"].startswith("text/css")
    assert (await console.http.get("/static/x/nothing.css")).status_code == 404


@pytest.mark.parametrize("path", ["/chat", "/documents/sample", "/system/dead/replay", "/logout"])
async def test_form_without_token_is_refused(console: Any, path: str) -> None:
    for fields in ({}, {"form": "0" * 64}):
        reply = await console.http.post(path, data=fields | {"text": "Hi"})
        assert reply.status_code == 403
        assert "Load the page again" in reply.text


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}])
async def test_foreign_page_is_refused(console: Any, headers: dict[str, str]) -> None:
    fields = {"form": await console.token("/"), "text": "Hi"}
    reply = await console.http.post("/chat", data=fields, headers=headers)
    assert reply.status_code == 403


async def test_foreign_name_sees_nothing(console: Any) -> None:
    reply = await console.http.get("/", headers={"host": "rebound.example"})
    assert reply.status_code == 403
    assert "Archive-AI" in reply.text
    assert (await console.http.get("/livez", headers={"host": "pod-7.example"})).status_code == 200


async def test_key_opens_and_logout_closes(start: Any) -> None:
    async with start(api_key=SecretStr(KEY)) as console:
        away = await console.http.get("/documents?q=a%20b")
        assert (away.status_code, away.headers["location"]) == (303, "/login?next=%2Fdocuments%3Fq%3Da%2520b")
        assert 'name="next" value="/documents?q=a%20b"' in (await console.http.get(away.headers["location"])).text
        wrong = await console.post("/login", key="wrong")
        assert wrong.status_code == 401
        assert "This key is wrong" in wrong.text
        entered = await console.post("/login", key=f" {KEY} ", next="/documents?q=a%20b")
        assert (entered.status_code, entered.headers["location"]) == (303, "/documents?q=a%20b")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert KEY not in cookie
        assert (await console.http.get("/")).status_code == 200
        left = await console.http.post("/logout", data={"form": await console.token("/")})
        assert left.headers["location"] == "/login"
        assert (await console.http.get("/")).status_code == 303


async def test_cookie_of_tls_stays_on_tls(start: Any) -> None:
    async with start(api_key=SecretStr(KEY)) as console:
        origin = console.url.replace("http://", "https://")
        for sent, secure in ((console.url, False), (origin, True)):
            fields = {"form": await console.token(), "key": KEY}
            entered = await console.http.post("/login", data=fields, headers={"origin": sent})
            assert ("; Secure" in entered.headers["set-cookie"]) is secure


async def test_ended_session_leads_to_login(start: Any) -> None:
    async with start(api_key=SecretStr(KEY)) as console:
        part = await console.http.post("/chat", headers={"hx-request": "true"})
        assert part.status_code == 401
        assert 'href="/login"' in part.text
        from_page = {"referer": f"{console.url}/chat/abc?edit=1"}
        for headers in (from_page, from_page | {"hx-request": "true"}):
            refused = await console.http.post("/chat/abc/turns", headers=headers)
            assert refused.status_code == 401
            assert 'href="/login?next=%2Fchat%2Fabc%3Fedit%3D1"' in refused.text
        lured = await console.http.post("/chat", headers={"referer": "http://[::1"})
        assert lured.status_code == 401
        assert 'href="/login"' in lured.text


async def test_forged_cookie_stays_outside(start: Any) -> None:
    async with start(api_key=SecretStr(KEY)) as console:
        for cookie in ("x", "W10.0", "e30." + "0" * 64):
            reply = await console.http.get("/system", headers={"cookie": f"archive_session={cookie}"})
            assert reply.status_code == 303
        written = await console.http.post("/chat", data={"form": await console.token(), "text": "Hi"})
        assert written.status_code == 401


async def test_token_is_of_one_session(start: Any) -> None:
    async with start(api_key=SecretStr(KEY)) as console:
        await console.post("/login", key=KEY)
        mine = await console.token("/")
        async with httpx.AsyncClient(base_url=console.url) as other:
            token = (await other.get("/login")).text.partition('name="form" value="')[2].partition('"')[0]
            await other.post("/login", data={"form": token, "key": KEY})
            assert (await other.post("/chat", data={"form": mine, "text": "Hi"})).status_code == 403


async def test_unknown_address_gets_a_page(console: Any) -> None:
    for path in ("/nothing", "/chat/nothing", "/turns/nothing/events", "/system/nothing", "/system/streams/nothing"):
        reply = await console.http.get(path)
        assert reply.status_code == 404
        assert "not_found" in reply.text
    assert (await console.http.put("/")).status_code == 405


async def test_part_of_a_page_gets_a_notice(console: Any) -> None:
    reply = await console.http.post("/chat", data={}, headers={"hx-request": "true"})
    assert (reply.status_code, reply.headers["hx-retarget"]) == (403, "#notice")
    assert "<html" not in reply.text


async def test_trailing_slash_is_the_same(console: Any) -> None:
    assert (await console.http.get("/system/")).status_code == 200


async def test_probes_tell_the_truth(console: Any, redis_url: str) -> None:
    assert (await console.http.get("/livez")).json() == {"status": "ok"}
    assert (await console.http.get("/readyz")).json() == {"status": "ok", "problems": {}}


async def test_lost_bus_gets_a_page(start: Any, redis_server: Any) -> None:
    async with start(bus_url=redis_server.url, state_url=redis_server.url) as console:
        token = await console.token("/")
        redis_server.kill()
        asked = await console.http.post("/chat", data={"form": token, "text": "Hi"})
        assert asked.status_code >= 500
        assert 'class="empty"' in asked.text
        for path in ("/", "/documents"):
            assert (await console.http.get(path)).status_code == 200
        refused = await console.http.get("/readyz")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        redis_server.start()


def spoil(folder: Path) -> None:
    for path in folder.glob("conversations.db*"):
        path.unlink()
    (folder / "conversations.db").write_bytes(b"not a database at all" * 100)


async def test_unforeseen_failure_gives_nothing_away(console: Any) -> None:
    spoil(console.folder)
    reply = await console.http.get("/")
    assert reply.status_code == 500
    assert "internal_error" in reply.text
    assert "sqlite" not in reply.text


async def test_many_pages_at_once_are_served(console: Any) -> None:
    replies = await asyncio.gather(*(console.http.get("/") for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}


async def test_exposed_console_needs_key(start: Any) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with start(host="0.0.0.0"):
            pass
    assert caught.group_contains(SettingError, match="there is no key")


async def made(bus: Any, secret: str, tenant: str, *scopes: str) -> None:
    created = KeyCreated.model_validate(
        {"key_id": f"key_{tenant}", "name": "n", "digest": digest_of(secret.encode()), "hint": "h"}
        | {"tenant": tenant, "scopes": scopes, "created_at": 0}
    )
    await bus.append(created, to=KEYS_JOURNAL, entity=BOOK)


async def test_created_keys_open_their_tenant(console: Any, bus_as: Any) -> None:
    assert (await console.http.get("/")).status_code == 200
    async with bus_as("gateway") as bus:
        await made(bus, "alpha", "acme", "platform")
        await made(bus, "beta", "globex", "operator")

        async def closed() -> bool:
            return (await console.http.get("/")).status_code == 303

        await eventually(closed)
        assert (await console.post("/login", key="alpha")).status_code == 303
        assert (await console.http.get("/")).status_code == 200
        assert (await console.http.get("/system")).status_code == 403
        await bus.append(KeyRevoked(key_id="key_acme", revoked_at=1), to=KEYS_JOURNAL, entity=BOOK)
        await eventually(closed)
        assert (await console.post("/login", key="alpha")).status_code == 401
    assert (await console.post("/login", key="beta")).status_code == 303
    assert (await console.http.get("/system")).status_code == 200


async def test_shelf_is_of_one_tenant(console: Any, bus_as: Any, peer: Any) -> None:
    async def looked(delivery: Delivery[ListDocuments]) -> None:
        tenant = delivery.envelope.tenant
        held = DocumentInfo(id=tenant, filename=f"{tenant}-secret.pdf", status="ready", created_at=1.0)
        await delivery.reply(DocumentsFound(documents=(held,), total=1))

    async with peer("memory", MEMORY_QUERIES, {ListDocuments: looked}), bus_as("gateway") as bus:
        for tenant in ("acme", "globex"):
            await made(bus, f"secret of {tenant}", tenant, "platform")

        async def entered(tenant: str) -> bool:
            return (await console.post("/login", key=f"secret of {tenant}")).status_code == 303

        # Both, and the first again: by then the shelf of the other is known too.
        for own, other in (("acme", "globex"), ("globex", "acme"), ("acme", "globex")):
            await eventually(lambda tenant=own: entered(tenant))
            await console.shelf("/")
            shown = (await console.http.get(f"/?document={other}")).text
            assert f"{own}-secret.pdf" in shown
            assert f"{other}-secret.pdf" not in shown


async def test_void_key_ends_open_streams(console: Any, bus_as: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_console.routes.events.PING_S", 0.1)
    ended: list[str] = []

    async def read(who: str, first: asyncio.Event) -> None:
        async with console.http.stream("GET", "/system/overview/events") as reply:
            async for _ in reply.aiter_lines():
                first.set()
        ended.append(who)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks, bus_as("gateway") as bus:
        tasks.create_task(read("anybody", anybody := asyncio.Event()))
        await anybody.wait()
        # The first key closes the door, also behind those who are in already.
        await made(bus, "beta", "globex", "operator")

        async def closed() -> bool:
            return (await console.http.get("/")).status_code == 303

        await eventually(closed)
        await console.post("/login", key="beta")
        tasks.create_task(read("somebody", somebody := asyncio.Event()))
        await somebody.wait()
        await bus.append(KeyRevoked(key_id="key_globex", revoked_at=1), to=KEYS_JOURNAL, entity=BOOK)
    assert ended == ["anybody", "somebody"]


@pytest.mark.parametrize("sent", [b"", b"POST /chat HTTP/1.1\r\nhost: loc"])
async def test_unfinished_head_is_hung_up_on(console: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("archive_web._server.HEAD_S", 0.3)
    host, _, port = console.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_dripping_form_is_refused(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_web._body.BODY_S", 0.3)
    host, _, port = console.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    form = b"content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\nconnection: close\r\n\r\nform="
    writer.write(b"POST /login HTTP/1.1\r\nhost: localhost\r\n" + form)
    async with asyncio.timeout(30):
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()
