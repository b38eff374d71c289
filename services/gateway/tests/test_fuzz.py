"""Headers and pieces of answers that nobody expects."""

import asyncio
import json
import re
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from archive_gateway.routes.answers import EventWire

NAMES = (
    "authorization",
    "host",
    "origin",
    "content-type",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-request-id",
    "x-archive-session",
    "x-archive-resume",
    "x-archive-priority",
)
VALUES = st.binary(max_size=200).map(lambda value: re.sub(rb"[\r\n\x00]", b"", value))
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6)
TARGETS = st.sampled_from(
    ["GET /v1/models", "GET /v1/streams/a", "GET /v1/engines", "GET /readyz", "DELETE /v1/jobs/a"]
)


def exchange(url: str, request: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


async def test_no_header_makes_the_gateway_fail(gateway: Any) -> None:
    @settings(max_examples=60)
    @given(target=TARGETS, headers=HEADERS)
    def fuzz(target: str, headers: list[tuple[str, bytes]]) -> None:
        lines = [f"{target} HTTP/1.1".encode(), b"connection: close", b"content-length: 0"]
        lines += [name.encode() + b": " + value for name, value in headers]
        answer = exchange(gateway.url, b"\r\n".join(lines) + b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 (200|204|4\d\d) ", answer), answer[:300]
        assert b"Traceback" not in answer

    await asyncio.to_thread(fuzz)
    assert (await gateway.http.get("/livez")).status_code == 200


async def test_no_first_line_makes_the_gateway_fail(gateway: Any) -> None:
    @settings(max_examples=60)
    @given(line=st.binary(max_size=120))
    def fuzz(line: bytes) -> None:
        answer = exchange(gateway.url, line + b"\r\nhost: localhost\r\nconnection: close\r\n\r\n\r\n")
        assert not answer or re.match(rb"HTTP/1\.1 (200|4\d\d) ", answer), answer[:300]

    await asyncio.to_thread(fuzz)
    assert (await gateway.http.get("/livez")).status_code == 200


def events_of(stream: str) -> list[dict[str, str]]:
    """Read server-sent events as the standard says."""
    found: list[dict[str, str]] = []
    for block in stream.split("\n\n")[:-1]:
        fields: dict[str, str] = {}
        for line in re.split(r"\r\n|\r|\n", block):
            name, _, value = line.partition(":")
            if name:
                fields[name] = (fields[name] + "\n" if name in fields else "") + value.removeprefix(" ")
        found.append(fields)
    return found


@given(texts=st.lists(st.dictionaries(st.text(), st.text(), max_size=3), max_size=4), spaced=st.booleans())
def test_any_json_is_one_event(texts: list[dict[str, str]], spaced: bool) -> None:
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def write() -> None:
        wire = EventWire(send)
        for place, text in enumerate(texts):
            await wire.data(json.dumps(text, ensure_ascii=False, indent=1 if spaced else None), entry=f"s/{place}")
        await wire.end()

    asyncio.run(write())
    found = events_of(b"".join(sent).decode())
    assert [event["id"] for event in found] == [f"s/{place}" for place in range(len(texts))]
    assert [json.loads(event["data"]) for event in found] == texts
