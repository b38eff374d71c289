"""A folder, and a bucket of a real S3 server."""

import urllib.request
import uuid
from collections.abc import Generator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from archive_blobs import Blobs, open_blobs


@pytest.fixture(scope="session")
def s3_endpoint() -> Generator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def bucket_url(s3_endpoint: str, credentials: None) -> str:
    bucket = f"blobs-{uuid.uuid4().hex}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")):
        return f"s3://{bucket}/deep/prefix?endpoint={s3_endpoint}&region=us-east-1"


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return open_blobs((tmp_path / "blobs").as_uri())
    return open_blobs(request.getfixturevalue("bucket_url"))
