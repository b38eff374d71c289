"""How an answer leaves: head and body in one write where that can be, and never less carefully than uvicorn's own."""

import asyncio
import logging

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from archive_web._joining import Joining

LENGTH = (b"content-length", b"2")
TYPE = (b"content-type", b"application/json")
LOG = logging.getLogger(__name__)


class Wire(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Exchange:
    """One request, and the way of its answer."""

    def __init__(self, *, method: str = "GET", keep_alive: bool = True) -> None:
        self.wire, self.answered = Wire(), 0
        self.cycle = RequestResponseCycle(
            scope={"type": "http", "method": method},  # type: ignore[typeddict-item]
            transport=self.wire,
            flow=FlowControl(self.wire),
            logger=LOG,
            access_logger=LOG,
            access_log=False,
            default_headers=[(b"date", b"today")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._note,
        )
        self.send = Joining(self.cycle, self.cycle.send)  # type: ignore[arg-type]

    def _note(self) -> None:
        self.answered += 1

    async def answer(self, *headers: tuple[bytes, bytes], body: bytes = b"{}", more: bool = False) -> bytes:
        await self.send({"type": "http.response.start", "status": 200, "headers": [*headers]})
        await self.send({"type": "http.response.body", "body": body, "more_body": more})
        return b"".join(self.wire.written)


async def test_whole_answer_leaves_in_one_write() -> None:
    exchange = Exchange()
    sent = await exchange.answer(TYPE, LENGTH)
    head = b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    assert (sent, len(exchange.wire.written)) == (head + b"\r\n{}", 1)
    assert (exchange.cycle.response_complete, exchange.answered, exchange.wire.closed) == (True, 1, False)


async def test_last_answer_of_a_connection_says_so() -> None:
    exchange = Exchange(keep_alive=False)
    assert b"\r\nconnection: close\r\n\r\n{}" in await exchange.answer(LENGTH)
    assert exchange.wire.closed


async def test_stream_leaves_as_it_comes() -> None:
    exchange = Exchange()
    await exchange.send({"type": "http.response.start", "status": 200, "headers": []})
    assert exchange.wire.written[0].endswith(b"transfer-encoding: chunked\r\n\r\n")
    for more in (True, False):
        await exchange.send({"type": "http.response.body", "body": b"ab", "more_body": more})
    assert exchange.wire.written[1:] == [b"2\r\nab\r\n", b"2\r\nab\r\n0\r\n\r\n"]


async def test_first_piece_of_known_length_follows_its_head() -> None:
    exchange = Exchange()
    assert (await exchange.answer(LENGTH, body=b"{", more=True)).endswith(b"\r\n\r\n{")
    await exchange.send({"type": "http.response.body", "body": b"}"})
    assert (exchange.wire.written[-1], exchange.answered) == (b"}", 1)


async def test_head_alone_is_answered_without_body() -> None:
    exchange = Exchange(method="HEAD")
    assert (await exchange.answer(LENGTH)).endswith(b"content-length: 2\r\n\r\n")
    assert exchange.answered == 1


@pytest.mark.parametrize(
    ("header", "body", "why"),
    [
        ((b"x-bad", b"a\r\nset-cookie: b"), b"{}", "Invalid HTTP header value"),
        ((b"x bad", b"a"), b"{}", "Invalid HTTP header name"),
        (TYPE, b"{", "shorter than Content-Length"),
        (TYPE, b"{}}", "longer than Content-Length"),
    ],
)
async def test_what_would_break_the_connection_is_refused(header: tuple[bytes, bytes], body: bytes, why: str) -> None:
    with pytest.raises(RuntimeError, match=why):
        await Exchange().answer(LENGTH, header, body=body)


async def test_nothing_is_written_to_whoever_has_left() -> None:
    exchange = Exchange()
    exchange.cycle.disconnected = True
    assert await exchange.answer(LENGTH) == b""
