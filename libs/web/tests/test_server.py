"""The server, and the bounds on what clients send it."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_telemetry import SettingError
from archive_web import BodyTooLarge, BodyTooSlow, HttpServer, Line, _server, bounded, line_of

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    receiving, size, more = bounded(receive, limit=1000), 0, True
    while more:
        message = await receiving()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def server(app: ASGIApp = echo, *, host: str = "127.0.0.1") -> HttpServer:
    return HttpServer(app, service="edge", host=host, port=0, drain_s=2.0)


async def connected(url: str) -> Ends:
    return await asyncio.open_connection(*url.removeprefix("http://").split(":"))


@asynccontextmanager
async def open_to(app: ASGIApp) -> AsyncGenerator[Ends, None]:
    """Serve, and hold one connection."""
    serving = server(app)
    async with serving.serving(), asyncio.timeout(60):
        reader, writer = await connected(serving.url)
        yield reader, writer
        writer.close()


async def exchange(url: str, sent: bytes) -> bytes:
    reader, writer = await connected(url)
    writer.write(sent)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nhost: loc", b"GET / HTTP/1.1\r\n"])
async def test_unfinished_head_is_hung_up_on(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("archive_web._server.HEAD_S", 0.3)
    serving = server()
    async with serving.serving():
        assert await exchange(serving.url, sent) == b""


async def test_endless_head_is_refused() -> None:
    serving = server()
    async with serving.serving():
        head = b"GET / HTTP/1.1\r\nhost: l\r\nx: "
        assert (await exchange(serving.url, head + b"a" * _server.MOST_HEAD)).startswith(b"HTTP/1.1 431 ")
        whole = b"POST / HTTP/1.1\r\nhost: l\r\nconnection: close\r\ncontent-length: 900\r\n\r\n" + b"a" * 900
        assert (await exchange(serving.url, whole)).endswith(b"\r\n\r\n900")


async def test_body_counts_to_no_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "MOST_HEAD", 500)
    serving = server()
    async with serving.serving():
        first = b"POST / HTTP/1.1\r\nhost: l\r\ncontent-length: 900\r\n\r\n" + b"a" * 900
        begun, ended = b"GET / HTTP/1.1\r\nhost: l\r\n", b"connection: close\r\n\r\n"
        reader, writer = await connected(serving.url)
        writer.write(first + begun)
        async with asyncio.timeout(60):
            answer = await reader.readuntil(b"\r\n\r\n900")
            writer.write(ended)
            answer += await reader.read()
        writer.close()
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert b" 431 " not in answer


async def test_whole_request_is_answered() -> None:
    serving = server()
    async with serving.serving():
        sent = b"POST / HTTP/1.1\r\nhost: l\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"
        assert (await exchange(serving.url, sent)).endswith(b"\r\n\r\n3")
    assert serving.url == ""


REQUEST = b"GET / HTTP/1.1\r\nhost: l\r\n\r\n"


async def test_connection_in_the_queue_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[socket.socket] = []
    queued = _server._queued  # pyright: ignore[reportPrivateUsage] - connects at the worst moment

    def connecting_first(listening: socket.socket) -> Iterator[socket.socket]:
        late.append(socket.create_connection(listening.getsockname()))
        late[0].sendall(REQUEST)
        return queued(listening)

    monkeypatch.setattr(_server, "_queued", connecting_first)
    async with server().serving():
        pass
    answer = late[0].recv(4096)
    late[0].close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n\r\n"])
async def test_blank_lines_hold_no_connection(monkeypatch: pytest.MonkeyPatch, blank: bytes) -> None:
    monkeypatch.setattr(_server, "HEAD_S", 0.3)
    async with open_to(echo) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(blank)
        assert await reader.read() == b""


async def test_blank_lines_before_a_request_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "HEAD_S", 60.0)
    async with open_to(echo) as (reader, writer):
        for blank in (b"", b"\r\n"):
            writer.write(blank + REQUEST)
            assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200")


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a look at the body."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def begin_refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    """Announce a body, and hear that it is refused before any of it was sent."""
    writer.write(b"POST / HTTP/1.1\r\nhost: l\r\ncontent-length: %d\r\n\r\n" % length)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")


async def test_rest_of_a_refused_body_is_no_head() -> None:
    body = b"x" * 200_000
    async with open_to(refuse) as (reader, writer):
        for _ in range(2):
            await begin_refused(reader, writer, len(body))
            for start in range(0, len(body), 50_000):
                writer.write(body[start : start + 50_000])
                await writer.drain()
                await asyncio.sleep(0.02)  # each piece arrives by itself


async def test_leaving_server_sends_clients_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "LINGER_S", 60.0)
    serving = server()
    async with serving.serving():
        reader, writer = await connected(serving.url)
        writer.write(REQUEST)
        first = await reader.readuntil(b"\r\n\r\n0")
        asyncio.get_running_loop().call_later(0.2, writer.write, REQUEST)
    assert b"connection: close" not in first
    assert b"connection: close" in await reader.read()
    writer.close()


async def test_silent_client_keeps_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "LINGER_S", 0.2)
    serving = server()
    async with serving.serving():
        reader, writer = await connected(serving.url)
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("size", [1, 100_000])
async def test_line_tells_that_client_left(size: int) -> None:
    begun, read, left, line = asyncio.Event(), asyncio.Event(), asyncio.Event(), list[Line]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        while (await receive()).get("more_body"):
            pass
        line.append(line_of(scope))
        line[0].on_lost = left.set
        read.set()
        await left.wait()

    serving = server(app)
    async with asyncio.timeout(60), serving.serving():
        _, writer = await connected(serving.url)
        writer.write(b"POST / HTTP/1.1\r\nhost: l\r\ncontent-length: %d\r\n\r\n" % size)
        await begun.wait()
        writer.write(b"a" * size)
        await read.wait()
        assert not line[0].lost
        writer.close()
        await left.wait()
        assert line[0].lost


async def test_unusable_address_names_settings() -> None:
    with pytest.raises(SettingError, match="EDGE_HOST"):
        async with server(host="192.0.2.1").serving():
            pass


@pytest.mark.parametrize("dripping", [False, True])
async def test_refused_body_that_never_ends_is_hung_up_on(monkeypatch: pytest.MonkeyPatch, dripping: bool) -> None:
    monkeypatch.setattr(_server, "REST_S", 0.3)
    async with open_to(refuse) as (reader, writer):
        await begin_refused(reader, writer, 200_000)
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            if dripping:
                writer.write(b"x")
            await asyncio.sleep(0.02)
        assert ended.exception() or ended.result() == b""


@pytest.mark.parametrize("after", [b"", b"\r\n"])
async def test_end_of_a_refused_body_frees_the_connection(monkeypatch: pytest.MonkeyPatch, after: bytes) -> None:
    for name, seconds in (("REST_S", 2.0), ("KEEP_ALIVE_S", 4), ("HEAD_S", 4.0)):
        monkeypatch.setattr(_server, name, seconds)
    async with open_to(refuse) as (reader, writer):
        for _ in range(2):
            await begin_refused(reader, writer, 3)
            writer.write(b"abc")
            await asyncio.sleep(2.5)  # longer than the rest of a body may take
        writer.write(after)
        assert await reader.read() == b""  # like any idle connection, it ends in its time


def messages(parts: list[bytes]) -> Receive:
    left = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)} for index, part in enumerate(parts)
    ]

    async def receive() -> Any:
        return left.pop(0) if left else {"type": "http.disconnect"}

    return receive


@given(parts=st.lists(st.binary(max_size=40), min_size=1), limit=st.integers(0, 200))
def test_bound_holds_for_any_cut(parts: list[bytes], limit: int) -> None:
    async def read() -> bytes:
        receiving, got = bounded(messages(parts), limit=limit), b""
        for _ in parts:
            got += (await receiving())["body"]
        return got

    whole = b"".join(parts)
    if len(whole) > limit:
        with pytest.raises(BodyTooLarge) as caught:
            asyncio.run(read())
        assert caught.value.limit == limit
    else:
        assert asyncio.run(read()) == whole


async def test_dripping_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_web._body.BODY_S", 0.1)

    async def drips() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> None:
        receiving = bounded(drips)
        async with asyncio.timeout(60):
            while True:
                await receiving()

    with pytest.raises(BodyTooSlow, match="bytes in"):
        await read()


async def test_end_of_connection_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive_web._body.BODY_S", 0.05)
    left = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        await asyncio.sleep(0.2 if len(left) == 1 else 0)
        return left.pop(0)

    receiving = bounded(receive)
    assert (await receiving())["body"] == b"x"
    assert (await receiving())["type"] == "http.disconnect"
