"""What is sent packed, what never is, and to whom."""

import gzip

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from archive_web import Packed
from archive_web._packing import takes_gzip

PAGE = "<p>The lighthouse is 47 metres tall.</p>" * 50


async def page(request: Request) -> Response:
    headers = {"etag": '"one"', "vary": "cookie"}
    return Response(PAGE, media_type=request.query_params.get("kind", "text/html"), headers=headers)


async def small(request: Request) -> Response:
    return Response("<p>Hi</p>", media_type="text/html")


async def streamed(request: Request) -> Response:
    async def pieces():
        for _ in range(50):
            yield PAGE

    return StreamingResponse(pieces(), media_type=request.query_params["kind"])


async def packed_already(request: Request) -> Response:
    return Response(gzip.compress(PAGE.encode()), media_type="text/html", headers={"content-encoding": "gzip"})


ROUTES = (("/", page), ("/small", small), ("/streamed", streamed), ("/packed", packed_already))


async def get(path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    app = Packed(Router([Route(route, answer) for route, answer in ROUTES]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as http:
        return await http.get(path, headers={"accept-encoding": "gzip"} | named)


async def test_page_is_sent_packed() -> None:
    reply = await get("/")
    assert (reply.headers["content-encoding"], reply.text) == ("gzip", PAGE)
    assert int(reply.headers["content-length"]) < len(PAGE) / 10
    assert reply.headers["etag"] == 'W/"one"'
    assert reply.headers["vary"] == "cookie, Accept-Encoding, Sec-Fetch-Site"


@pytest.mark.parametrize("encoding", ["identity", "br", "gzip;q=0", "gzip; q=0.0, br"])
async def test_who_takes_no_gzip_gets_none(encoding: str) -> None:
    reply = await get("/", accept_encoding=encoding)
    assert reply.text == PAGE
    assert "content-encoding" not in reply.headers
    assert "Accept-Encoding" in reply.headers["vary"]


@pytest.mark.parametrize(("site", "packed"), [("cross-site", False), ("same-site", False), ("same-origin", True)])
async def test_request_of_foreign_page_is_never_packed(site: str, packed: bool) -> None:
    reply = await get("/", sec_fetch_site=site)
    assert (("content-encoding" in reply.headers), reply.text) == (packed, PAGE)


@pytest.mark.parametrize("kind", ["text/event-stream", "text/html", "application/octet-stream"])
async def test_stream_passes_as_it_comes(kind: str) -> None:
    reply = await get(f"/streamed?kind={kind}")
    assert reply.text == PAGE * 50
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize("path", ["/small", "/?kind=image/png", "/?kind=application/octet-stream"])
async def test_what_packing_does_not_help_is_left(path: str) -> None:
    assert "content-encoding" not in (await get(path)).headers


async def test_packed_answer_is_not_packed_again() -> None:
    assert (await get("/packed")).text == PAGE


@given(st.text())
def test_any_accept_encoding_is_understood(accepted: str) -> None:
    assert takes_gzip(accepted) in {True, False}


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [("gzip, deflate, br, zstd", True), ("*", True), ("br;q=1, GZIP;q=0.5", True), ("gzip;q=x", False), ("", False)],
)
def test_accept_encoding_is_weighed(accepted: str, taken: bool) -> None:
    assert takes_gzip(accepted) is taken
