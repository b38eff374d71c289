"""From a text in the settings to a store."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
import pytest
from obstore.store import S3Store

from archive_blobs import (
    BlobCorrupt,
    BlobError,
    BlobMissing,
    BlobRef,
    BlobStoreDown,
    BlobUrlInvalid,
    FolderBlobs,
    ObjectBlobs,
    open_blobs,
)

if TYPE_CHECKING:
    from obstore.store import S3Config


def test_file_address_opens_folder(tmp_path: Path) -> None:
    assert isinstance(open_blobs((tmp_path / "with space").as_uri()), FolderBlobs)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "blobs",
        "file://host/path",
        "file:///",
        "file:relative",
        "ftp://host/x",
        "s3://",
        "s3:///prefix",
        "s3://bucket?regoin=eu",
        "s3://bucket?endpoint=",
        "s3://bucket?endpoint=a.example:9000",
        "s3://bucket?region=a&region=b",
    ],
)
def test_unusable_address_is_refused(url: str) -> None:
    with pytest.raises(BlobUrlInvalid):
        open_blobs(url)


def test_credentials_in_address_are_refused() -> None:
    with pytest.raises(BlobUrlInvalid) as refused:
        open_blobs("s3://key:hunter22@bucket/prefix")
    assert "hunter22" not in str(refused.value)


async def test_missing_bucket_is_down(s3_endpoint: str, credentials: None) -> None:
    blobs = open_blobs(f"s3://no-such-bucket-here?endpoint={s3_endpoint}&region=us-east-1")
    with pytest.raises(BlobStoreDown, match="create the bucket"):
        await blobs.check()


async def test_dead_server_is_down(credentials: None) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        blobs = open_blobs(f"s3://bucket?endpoint=http://127.0.0.1:{held.getsockname()[1]}&region=us-east-1")
        with pytest.raises(BlobStoreDown, match="does not answer"):
            await blobs.put(b"x")


async def test_foreign_object_is_corrupt(bucket_url: str, s3_endpoint: str) -> None:
    config: S3Config = {"endpoint": s3_endpoint, "region": "us-east-1"}
    store = S3Store(urlsplit(bucket_url).netloc, config=config, client_options={"allow_http": True})
    blobs = ObjectBlobs(store, name="the test's bucket")
    ref = await blobs.put(b"right")
    await obstore.put_async(store, f"sha256/{ref.sha256}", b"wrong")
    with pytest.raises(BlobCorrupt):
        await blobs.read(ref)
    with pytest.raises(BlobCorrupt, match="instead of"):
        await blobs.open(BlobRef(ref.sha256, 4))


async def test_two_nodes_share_bucket(bucket_url: str) -> None:
    ref = await open_blobs(bucket_url).put(b"from node one")
    assert await open_blobs(bucket_url).read(ref) == b"from node one"


def test_folder_loads_no_client() -> None:
    code = "import sys, archive_blobs; archive_blobs.open_blobs('file:///x/y'); print('obstore' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_errors_carry_next_step() -> None:
    assert issubclass(BlobMissing, BlobError)
    assert BlobMissing("blob:x").next_step
