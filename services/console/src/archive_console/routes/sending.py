"""Files on their way out: whole, a part after a broken connection, or nothing new."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from archive_blobs import BlobRef
from archive_console.domain.ranges import known, part
from archive_console.routes.visit import Visit

# With Vary: Cookie: what a browser keeps of one session is not shown in another.
KEPT = "private, max-age=86400, immutable"
ASKED_AGAIN = "private, no-cache"


def unchanged(visit: Visit, tag: str, *, cached: str) -> Response | None:
    """Return the answer to somebody who has this version already; None when it has to be sent."""
    if not known(visit.request.headers.get("if-none-match", ""), tag):
        return None
    return Response(status_code=304, headers={"etag": tag, "cache-control": cached, "vary": "Cookie"})


async def sent(visit: Visit, ref: BlobRef, *, name: str) -> Response:
    """Send the bytes of a blob as a file to keep; never to be shown by the browser.

    A part is read from the beginning and sent from where it begins: so its end still proves the hash of all of it.
    Raises BlobError.
    """
    tag = f'"{ref.sha256}"'
    if (same := unchanged(visit, tag, cached=ASKED_AGAIN)) is not None:
        return same
    asked = visit.request.headers
    wanted = part(asked.get("range", ""), asked.get("if-range", ""), tag, size=ref.size)
    first, end = wanted or (0, ref.size)
    headers = {"accept-ranges": "bytes", "etag": tag, "cache-control": ASKED_AGAIN}
    if wanted and first == end:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{ref.size}"})
    headers |= {"content-disposition": disposition(name), "content-length": str(end - first)}
    if wanted:
        headers["content-range"] = f"bytes {first}-{end - 1}/{ref.size}"
    status = 206 if wanted else 200
    kind = "application/octet-stream"
    if visit.request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    content = _between(await visit.desk.blobs.open(ref), first, end, size=ref.size)
    return StreamingResponse(content, status_code=status, media_type=kind, headers=headers)


async def _between(pieces: AsyncIterator[bytes], first: int, end: int, *, size: int) -> AsyncIterator[bytes]:
    at = 0
    async with aclosing(cast("AsyncGenerator[bytes]", pieces)) as reading:
        async for piece in reading:
            if wanted := piece[max(0, first - at) : max(0, end - at)]:
                yield wanted
            at += len(piece)
            # To the very end where that is wanted: only there is the hash proved.
            if at >= end and end < size:
                return


def disposition(name: str) -> str:
    """Return the header that names a file: in ASCII for old clients, and as it is called (RFC 6266)."""
    plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name.encode(errors='replace'), safe='')}"
