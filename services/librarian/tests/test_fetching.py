"""Addresses of the web become documents, and lead nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from librarian_peers import Gateway, Memory

from archive_contracts.documents import FetchDocument
from archive_contracts.jobs import JobQueued
from archive_contracts.streams import DOCUMENT_COMMANDS, JOBS_JOURNAL
from archive_librarian.adapters.downloads import Downloads, Rules
from archive_librarian.domain.addresses import file_name, onward, place, refusal
from archive_librarian.domain.errors import AddressRefused, BadAddress, DownloadError, ResourceLimit, Unreachable
from archive_telemetry import App
from archive_testkit.waiting import eventually

LOOPBACK = (ip_network("127.0.0.1/32"),)


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Web:
    """A web server that answers each path by a function."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.port = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        self.asked.append(path)
        writer.write(self.answers.get(path, answer(status="404 Not Found")))
        await writer.drain()
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    found = Web()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def downloads(web: Web, **more: Any) -> Downloads:
    rules: dict[str, Any] = {"ports": (web.port,), "allowed": LOOPBACK, "most_bytes": 1000, "within_s": 60.0}
    return Downloads(Rules(**rules | more))


async def read(downloads: Downloads, url: str) -> tuple[str, bytes]:
    async with downloads.opened(url) as download:
        return download.filename, b"".join([piece async for piece in download.content])


async def test_file_is_downloaded_with_its_name(web: Web) -> None:
    web.answers["/a%20b.txt?x=1"] = answer(b"hello")
    assert await read(downloads(web), web.url("/a%20b.txt?x=1")) == ("a b.txt", b"hello")
    web.answers["/get"] = answer(b"hello", content_disposition='attachment; filename="../../re port.pdf"')
    assert (await read(downloads(web), web.url("/get")))[0] == "re port.pdf"


async def test_redirects_are_followed_and_counted(web: Web) -> None:
    web.answers["/from"] = answer(status="302 Found", location="/to")
    web.answers["/to"] = answer(b"there")
    assert await read(downloads(web), web.url("/from")) == ("to", b"there")
    web.answers["/round"] = answer(status="301 Moved", location="/round")
    with pytest.raises(DownloadError, match="more than 5 times"):
        await read(downloads(web), web.url("/round"))
    assert web.asked.count("/round") == 6


@pytest.mark.parametrize("onto", ["http://[::1]:{port}/x", "http://0.0.0.0:{port}/x", "http://127.0.0.2:{port}/x"])
async def test_redirect_inwards_is_refused(web: Web, onto: str) -> None:
    web.answers["/from"] = answer(status="302 Found", location=onto.format(port=web.port))
    with pytest.raises(AddressRefused, match=r"^The server sends on to another address: .* not on the public internet"):
        await read(downloads(web), web.url("/from"))
    assert web.asked == ["/from"]


@pytest.mark.parametrize("onto", ["file:///etc/passwd", "gopher://h/", "http://h:22/", "http://u:p@h/"])
async def test_redirect_to_something_else_is_refused(web: Web, onto: str) -> None:
    web.answers["/from"] = answer(status="302 Found", location=onto)
    with pytest.raises(AddressRefused, match="sends on") as told:
        await read(downloads(web), web.url("/from"))
    assert told.value.next_step.startswith("Open the address in a browser.")


async def test_private_address_is_not_dialled(web: Web) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1"):
        with pytest.raises((AddressRefused, Unreachable)):
            await read(downloads(web, allowed=()), f"http://{host}:{web.port}/")
    assert web.asked == []


async def test_size_is_limited_told_or_not(web: Web) -> None:
    web.answers["/told"] = answer(content_length="2000")
    web.answers["/untold"] = answer(b"x" * 2000)
    for path in ("/told", "/untold"):
        with pytest.raises(ResourceLimit):
            await read(downloads(web), web.url(path))


async def test_packed_content_is_refused(web: Web) -> None:
    web.answers["/bomb"] = answer(b"x", content_encoding="gzip")
    with pytest.raises(DownloadError, match="packed"):
        await read(downloads(web), web.url("/bomb"))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(status="404 Not Found"), DownloadError),
        (answer(status="403 Forbidden"), DownloadError),
        (answer(status="503 Busy"), Unreachable),
        (answer(b"cut", content_length="100"), Unreachable),
        (b"nonsense\r\n\r\n", Unreachable),
        (b"", Unreachable),
    ],
)
async def test_failures_are_told_apart(web: Web, reply: bytes, error: type[Exception]) -> None:
    web.answers["/x"] = reply
    with pytest.raises(DownloadError) as told:
        await read(downloads(web), web.url("/x"))
    assert type(told.value) is error
    assert told.value.next_step


async def test_slow_download_ends(web: Web) -> None:
    web.answers["/x"] = answer(b"")
    with pytest.raises(Unreachable, match="longer than"):
        await read(downloads(web, within_s=0.0), web.url("/x"))


async def test_port_that_is_not_asked_names_its_setting(web: Web) -> None:
    with pytest.raises(AddressRefused) as told:
        await read(downloads(web), "http://127.0.0.1:22/")
    assert "LIBRARIAN_FETCH_PORTS" in told.value.next_step


async def test_unknown_name_is_told_without_the_words_of_the_system(web: Web) -> None:
    with pytest.raises(Unreachable, match=r"^The name 'nobody.invalid' is not known\.$"):
        await read(downloads(web), f"http://nobody.invalid:{web.port}/")


INNER = """
    127.0.0.1 10.1.2.3 169.254.169.254 0.0.0.0 100.64.0.1 192.88.99.1 224.0.0.1 ::1 :: ::ffff:10.0.0.1 ::127.0.0.1
    64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2001:0:1::1 fe80::1 fec0::1 fc00::1 ff02::1
"""


@pytest.mark.parametrize("address", INNER.split())
def test_inner_addresses_are_refused(address: str) -> None:
    assert refusal(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_dialled(address: str) -> None:
    assert refusal(ip_address(address)) == ""


def test_allowed_networks_go_first() -> None:
    allowed = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert refusal(ip_address("10.1.1.1"), allowed=allowed) == ""
    assert refusal(ip_address("::ffff:10.1.1.1"), allowed=allowed) == ""
    assert refusal(ip_address("192.168.1.1"), allowed=allowed)


@given(some.ip_addresses(network="172.16.0.0/12") | some.ip_addresses(network="fe80::/10"))
def test_private_networks_are_refused_whole(address: Any) -> None:
    assert refusal(address)


@given(some.text(max_size=60))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    try:
        found = place(text, ports=(80, 443))
    except (BadAddress, AddressRefused):
        return
    assert found.port in {80, 443}
    assert found.host


@given(some.text(max_size=40), some.text(max_size=40))
def test_names_hold_no_folder(path: str, disposition: str) -> None:
    name = file_name(f"http://h/{path.replace('[', '').replace(']', '')}", disposition)
    assert name
    assert not set(name) & set("/\\\n\x00")
    assert name not in {".", ".."}


async def fetch(gateway: Gateway, url: str) -> None:
    await gateway.bus.append(JobQueued(job_id="job-1", kind="ingest", filename=url), to=JOBS_JOURNAL, entity="job-1")
    await gateway.bus.publish(FetchDocument(job_id="job-1", url=url), to=DOCUMENT_COMMANDS)


async def test_address_becomes_chunks(start: Callable[..., App], gateway: Gateway, memory: Memory, web: Web) -> None:
    web.answers["/facts.txt"] = answer(b"The secret number of the web is 42.", content_type="text/plain")
    async with start(fetch_allow=("127.0.0.1/32",), fetch_ports=(web.port,)).lifespan():
        await fetch(gateway, web.url("/facts.txt"))
        await eventually(lambda: memory.batches, within=60.0)
    assert "secret number of the web is 42" in memory.batches[0].chunks[0].text
    assert (memory.batches[0].filename, memory.batches[0].job_id) == ("facts.txt", "job-1")


async def test_refused_address_ends_its_job(start: Callable[..., App], gateway: Gateway, web: Web) -> None:
    async with start(fetch_ports=(web.port,)).lifespan():
        await fetch(gateway, web.url("/x"))
        job = await gateway.job()
    assert (job.status, job.phase, web.asked) == ("failed", "fetching", [])
    assert job.error
    assert job.error.code == "address_refused"
    assert job.error.next_step


async def test_server_that_is_away_is_asked_again(start: Callable[..., App], gateway: Gateway, web: Web) -> None:
    web.answers["/x"] = answer(status="503 Busy")
    async with start(fetch_allow=("127.0.0.1/32",), fetch_ports=(web.port,)).lifespan():
        await fetch(gateway, web.url("/x"))
        job = await gateway.job()
    assert (len(web.asked), job.status) == (3, "failed")
    assert job.error
    assert job.error.code == "unreachable"


async def test_cancelled_download_is_not_begun(start: Callable[..., App], gateway: Gateway, web: Web) -> None:
    await gateway.bus.cancel("job-1")
    async with start(fetch_allow=("127.0.0.1/32",), fetch_ports=(web.port,)).lifespan():
        await fetch(gateway, web.url("/x"))
        job = await gateway.job()
    assert (job.status, web.asked) == ("cancelled", [])


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999/", "http://host:x/"])
def test_what_cannot_be_parsed_is_no_address(url: str) -> None:
    with pytest.raises(BadAddress):
        place(url, ports=(80, 443))


def test_redirect_to_no_address_is_refused() -> None:
    assert onward("http://h/a/b", "../c") == "http://h/c"
    with pytest.raises(BadAddress):
        onward("http://h/a", "http://[::1")


def test_unreadable_disposition_leaves_the_address() -> None:
    assert file_name("http://h/paper.pdf", "attachment; filename*=\0''a") == "paper.pdf"
