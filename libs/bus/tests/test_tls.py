"""The bus speaks TLS, shows a certificate where the server wants one, and is refused without it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bus_peers import CHAT, bus_of

from archive_bus import BusUnavailable, Delivery
from archive_contracts.chat import ChatRequested
from archive_contracts.streams import CHAT_REQUESTS
from archive_testkit.servers import RedisServer, free_port
from archive_testkit.waiting import eventually

DEBIAN = shutil.which("redis-server")
OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(
    not (DEBIAN and OPENSSL), reason="needs redis-server with TLS and openssl on the path (Debian has both)"
)


def openssl(folder: Path, *words: str) -> None:
    subprocess.run([str(OPENSSL), *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate for server and client."""
    folder = tmp_path_factory.mktemp("papers")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=ca")
    openssl(folder, "req", *key, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl(folder, "x509", "-req", "-in", "own.csr", "-out", "own.crt", *signing)
    return folder


@pytest.fixture(params=["no", "yes"])
def secured(request: pytest.FixtureRequest, papers: Path, tmp_path: Path) -> Iterator[tuple[int, bool]]:
    """(TLS port, whether it wants the client's certificate)."""
    port = free_port()
    names = ("--tls-cert-file", "own.crt", "--tls-key-file", "own.key", "--tls-ca-cert-file", "ca.crt")
    files = [word if word.startswith("--") else str(papers / word) for word in names]
    options = ["--tls-port", str(port), *files, "--tls-auth-clients", str(request.param)]
    server = RedisServer(tmp_path, binary=DEBIAN, options=options).start()
    yield port, request.param == "yes"
    server.stop()


def url_of(port: int, papers: Path, *, own: bool) -> str:
    shown = f"&ssl_certfile={papers}/own.crt&ssl_keyfile={papers}/own.key" if own else ""
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={papers}/ca.crt{shown}"


async def test_messages_travel_by_tls(secured: tuple[int, bool], papers: Path) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery[ChatRequested]) -> None:
        seen.append(delivery.envelope.id)

    port, mutual = secured
    url = url_of(port, papers, own=mutual)
    async with bus_of("gateway", url) as gateway, bus_of("router", url) as router:
        router.subscribe(CHAT_REQUESTS, {ChatRequested: handle})
        sent = await gateway.publish(CHAT, to=CHAT_REQUESTS)
        await eventually(lambda: bool(seen))
    assert seen == [sent]


async def test_missing_certificate_is_refused(secured: tuple[int, bool], papers: Path) -> None:
    port, mutual = secured
    async with bus_of("gateway", url_of(port, papers, own=False)) as gateway:
        if mutual:
            with pytest.raises(BusUnavailable):
                await gateway.publish(CHAT, to=CHAT_REQUESTS, timeout=1.0)
        else:
            assert await gateway.publish(CHAT, to=CHAT_REQUESTS)


async def test_unknown_authority_is_refused(secured: tuple[int, bool]) -> None:
    port, _ = secured
    async with bus_of("gateway", f"rediss://127.0.0.1:{port}/0") as gateway:
        with pytest.raises(BusUnavailable):
            await gateway.publish(CHAT, to=CHAT_REQUESTS, timeout=1.0)
