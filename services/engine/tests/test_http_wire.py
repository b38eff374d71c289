"""What a server may say over a connection, and what becomes of the connection then."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from yarl import URL

from archive_engine.adapters.http_session import HttpSession, head_of, request_of
from archive_engine.adapters.http_wire import NotConnected, WireError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\n"
WHOLE = HEAD + b"content-length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
CLOSING = HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\n{}"
OLD = b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BIG = 3 * 2**20


@dataclass
class Spoken:
    """A server that says prepared bytes to each request, and hangs up after those that end with None."""

    says: list[bytes | None]
    url: URL = field(default_factory=URL)
    connections: int = 0
    heard: list[bytes] = field(default_factory=list[bytes])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.says:
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
                while self.says and (piece := self.says.pop(0)) is not None:
                    writer.write(piece)
                    await writer.drain()
                    if piece.endswith(b"{}"):
                        break
                else:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def speaking(*says: bytes | None) -> AsyncGenerator[tuple[Spoken, HttpSession]]:
    spoken, session = Spoken([*says]), HttpSession(keep_s=60)
    server = await asyncio.start_server(spoken.serve, "127.0.0.1", 0)
    spoken.url = URL.build(scheme="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1], path="/v1")
    async with server:
        yield spoken, session
        session.close()


async def asked(spoken: Spoken, session: HttpSession) -> tuple[int, bytes]:
    answer = await session.ask(spoken.url, request_of(head_of("GET", spoken.url, {}), None), connect_s=30)
    body = b""
    while piece := await answer.piece():
        body += piece
    assert answer.at_end
    return answer.status, body


@pytest.mark.parametrize(
    ("says", "body"),
    [
        ((WHOLE,), b"{}"),
        (
            (HEAD[:30], HEAD[30:] + b"transfer-encoding: chunked\r\n\r\n3\r\n{", b'"a\r\n4\r\n":1}\r\n0\r\n\r\n', None),
            b'{"a":1}',
        ),
        ((HEAD + b"\r\nto the end", b" of all", None), b"to the end of all"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,), b"{}"),
        ((b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n", WHOLE), b"{}"),
        ((HEAD + b"content-length: 0\r\n\r\n", None), b""),
        ((HEAD + b"content-length: %d\r\n\r\n" % BIG, b"x" * BIG, None), b"x" * BIG),
    ],
    ids=["length", "chunks", "until closed", "continue", "early hints", "empty", "larger than what is kept waiting"],
)
async def test_bodies_come_whole(says: tuple[bytes | None, ...], body: bytes) -> None:
    async with speaking(*says) as (spoken, session):
        assert await asked(spoken, session) == (200, body)


@pytest.mark.parametrize(
    "says",
    [
        (None,),
        (HEAD, None),
        (HEAD + b"content-length: 9\r\n\r\nhalf", None),
        (CHUNKED + b"9\r\nhalf", None),
        (CHUNKED + b"no number\r\n", None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", None),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", None),
    ],
    ids=["silent", "half a head", "half a body", "half a chunk", "bad chunk", "no HTTP", "upgrade"],
)
async def test_broken_answers_are_told(says: tuple[bytes | None, ...]) -> None:
    async with speaking(*says) as (spoken, session):
        with pytest.raises(WireError):
            await asked(spoken, session)


async def test_heads_that_never_end_are_cut() -> None:
    async with speaking(HEAD + b"x-long: ", b"x" * 70_000, None) as (spoken, session):
        with pytest.raises(WireError, match="head"):
            await asked(spoken, session)


async def test_connections_are_used_again() -> None:
    async with speaking(WHOLE, WHOLE, WHOLE) as (spoken, session):
        for _ in range(3):
            assert await asked(spoken, session) == (200, b"{}")
        assert (spoken.connections, len(spoken.heard)) == (1, 3)


@pytest.mark.parametrize("last", [CLOSING, OLD])
async def test_closing_answers_end_a_connection(last: bytes) -> None:
    async with speaking(last, WHOLE) as (spoken, session):
        assert await asked(spoken, session) == (200, b"{}")
        assert await asked(spoken, session) == (200, b"{}")
        assert spoken.connections == 2


async def test_words_unasked_end_a_connection() -> None:
    async with speaking(WHOLE + WHOLE, WHOLE) as (spoken, session):
        assert await asked(spoken, session) == (200, b"{}")
        assert await asked(spoken, session) == (200, b"{}")
        assert spoken.connections == 2


async def test_stale_connections_give_way_to_a_fresh_one() -> None:
    async with speaking(WHOLE, WHOLE, None, WHOLE) as (spoken, session):
        await asyncio.gather(asked(spoken, session), asked(spoken, session))
        assert await asked(spoken, session) == (200, b"{}")
        assert (spoken.connections, len(spoken.heard)) == (3, 4)


@pytest.mark.parametrize("broken", [(None,), (WHOLE, b"HTTP/1.1 2", None)], ids=["fresh", "answered in part"])
async def test_requests_that_may_have_come_go_out_once(broken: tuple[bytes | None, ...]) -> None:
    async with speaking(*broken, WHOLE) as (spoken, session):
        for _ in broken[:-2]:
            await asked(spoken, session)
        with pytest.raises(WireError):
            await asked(spoken, session)
        assert spoken.says == [WHOLE]


async def test_leaving_hangs_up() -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"content-length: 9\r\n\r\nhalf")
        await reader.read()
        left.set()
        writer.close()

    session, server = HttpSession(keep_s=60), await asyncio.start_server(serve, "127.0.0.1", 0)
    url = URL.build(scheme="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1], path="/v1")
    async with server, asyncio.timeout(60):
        answer = await session.ask(url, request_of(head_of("GET", url, {}), None), connect_s=30)
        assert await answer.piece() == b"half"
        answer.close()
        await left.wait()


async def test_answers_of_a_closed_session_end_their_connection() -> None:
    closed, left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE[:-1])
        await closed.wait()
        writer.write(WHOLE[-1:])
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    session, server = HttpSession(keep_s=60), await asyncio.start_server(serve, "127.0.0.1", 0)
    url = URL.build(scheme="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1], path="/v1")
    async with server, asyncio.timeout(60):
        answer = await session.ask(url, request_of(head_of("GET", url, {}), None), connect_s=30)
        session.close()
        closed.set()
        assert await answer.piece() + await answer.piece() == b"{}"
        await left.wait()


async def test_address_that_swallows_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(WHOLE) as (spoken, session):
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.2", spoken.url.port or 0))
            full.listen(0)  # a queue of one: the kernel passes over whoever comes behind it in silence
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())

            async def found(*_: object, **__: object) -> list[tuple[object, ...]]:
                where = (full.getsockname(), ("127.0.0.1", spoken.url.port))
                return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in where]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
            spoken.url = spoken.url.with_host("engine.test")
            assert await asked(spoken, session) == (200, b"{}")


async def test_wait_ends_with_what_has_come() -> None:
    async with speaking(HEAD + b"content-length: 4\r\n\r\n", b"half", None) as (spoken, session):
        answer = await session.ask(spoken.url, request_of(head_of("GET", spoken.url, {}), None), connect_s=30)
        answer.add(b"here")
        answer.interrupt(TimeoutError())
        assert answer.here()
        assert await answer.piece() in {b"", b"half"}


@pytest.mark.parametrize("late", [False, True])
async def test_silence_on_a_kept_connection_ends_the_wait(late: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE)
        await reader.read()
        writer.close()

    session, server = HttpSession(keep_s=60), await asyncio.start_server(serve, "127.0.0.1", 0)
    url = URL.build(scheme="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1], path="/v1")
    request = request_of(head_of("GET", url, {}), None)
    async with server, asyncio.timeout(60):
        first = await session.ask(url, request, connect_s=30)
        assert await first.piece() == b"{}"
        second = asyncio.ensure_future(session.ask(url, request, connect_s=30, head_s=0.2))
        await asyncio.sleep(0)
        if late:
            first.heard()  # of a reader that is slow to leave: the connection has the next answer by now
        with pytest.raises(TimeoutError):
            await second


async def test_no_server_is_not_connected() -> None:
    session = HttpSession(keep_s=60)
    with pytest.raises(NotConnected, match=r"^Connection refused$"):
        await session.ask(URL("http://127.0.0.1:1/v1"), b"", connect_s=30)
    for address in ("http://127.0.0.1:1/v1", "ftp://127.0.0.1/", "http://no.such.host.invalid/"):
        with pytest.raises(NotConnected):
            await session.ask(URL(address), b"", connect_s=30)


def test_heads_hold_one_request() -> None:
    url = URL("http://me:secret@[::1]:8080/v1/chat/completions")
    head = head_of("POST", url, {"content-type": "application/json"})
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]:8080\r\n")
    assert b"authorization: Basic bWU6c2VjcmV0\r\n" in head
    assert request_of(head, b"{}").endswith(b"content-length: 2\r\n\r\n{}")
    with pytest.raises(ValueError, match="line break"):
        head_of("POST", url, {"authorization": "Bearer a\r\nhost: elsewhere"})
