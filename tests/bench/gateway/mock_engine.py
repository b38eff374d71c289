"""A model server that does next to nothing: whole answers at once, streams of tokens at a steady pace.

Each token of a stream is the time at which it was sent, on the clock that all processes of a machine share, so that
the client sees how long it was on its way. ``python mock_engine.py PORT``.
"""

import asyncio
import json
import sys
import time

import uvloop

PACE_S = 0.020
TOKENS = 25
MODEL = "mock"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
_MESSAGE = {"role": "assistant", "content": "Hello from the mock engine."}
_WHOLE = json.dumps(
    {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
).encode()
_MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "m"}]})


def _answer(body: bytes) -> bytes:
    return _HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(body) + body


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    tree = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    data = b"data: " + json.dumps(tree).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n")
    due = time.monotonic()
    for number in range(TOKENS):
        delta = {"content": f"{time.monotonic_ns()} "} | ({"role": "assistant"} if number == 0 else {})
        writer.write(_chunk(delta))
        due += PACE_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    writer.write(_chunk({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            body = b""
            if (at := lower.find(b"content-length:")) >= 0:
                body = await reader.readexactly(int(lower[at + 15 : lower.index(b"\r", at)]))
            elif b"transfer-encoding: chunked" in lower:
                while size := int(await reader.readline(), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readline()
            if head.startswith(b"GET"):
                writer.write(_answer(_MODELS.encode()))
            elif b'"stream":true' in body.replace(b": ", b":"):
                await _stream(writer)
            else:
                writer.write(_answer(_WHOLE))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
