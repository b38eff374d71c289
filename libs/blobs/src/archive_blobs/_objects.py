"""Blobs in an object store."""

import hashlib
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from anyio import to_thread
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from archive_blobs._errors import BlobCorrupt, BlobMissing, BlobStoreDown
from archive_blobs._ref import BlobRef
from archive_blobs._spool import CHUNK_BYTES, Proof, Spool, copy_out, within

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

_PART_BYTES = 8 << 20
_PARALLEL_PARTS = 4


class ObjectBlobs:
    """Blobs as objects `sha256/<hash>` of a bucket.

    The key is known only when all content has been hashed. So a stream is collected in a temporary file first
    and uploaded once, under its final key, in one atomic request or multipart upload. Uploading under a
    temporary key and copying would save the local disk, but doubles the store's work, fails above the 5 GiB
    of one copy, leaves orphans when a writer dies, and sends oversized content before the limit is known.
    """

    def __init__(self, store: "ObjectStore", *, name: str, spool_folder: Path | None = None) -> None:
        self._store = store
        self._name = name
        self._spool_folder = spool_folder

    @classmethod
    def s3(
        cls, bucket: str, *, prefix: str = "", endpoint: str | None = None, region: str | None = None
    ) -> "ObjectBlobs":
        """Use an S3 bucket, path style, with credentials from the environment or the machine's role.

        A dead store is reported within about 10 seconds.
        """
        config: S3Config = {"virtual_hosted_style_request": False}
        if endpoint:
            config["endpoint"] = endpoint
        if region:
            config["region"] = region
        client: ClientConfig = {
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=3),
            "timeout": timedelta(seconds=60),
        }
        retry: RetryConfig = {
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=10),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        }
        store = S3Store(bucket, prefix=prefix or None, config=config, client_options=client, retry_config=retry)
        return cls(store, name=f"s3://{bucket}/{prefix}")

    async def put(self, data: bytes | AsyncIterator[bytes], *, limit: int | None = None) -> BlobRef:
        """Store content in one atomic upload; see Blobs.put."""
        if isinstance(data, bytes):
            digest = await to_thread.run_sync(hashlib.sha256, data)
            ref = BlobRef(digest.hexdigest(), len(data))
            within(limit, ref)
            await self._upload(ref, data)
            return ref
        async with Spool(self._spool_folder, limit=limit) as spool:
            ref = await spool.fill(data)
            await self._upload(ref, spool.path)
        return ref

    async def open(self, ref: BlobRef) -> AsyncIterator[bytes]:
        """Return the content in chunks of about 1 MiB; see Blobs.open."""
        with self._reported(ref):
            found = await obstore.get_async(self._store, _key(ref))
        if found.meta["size"] != ref.size:
            raise BlobCorrupt(ref, f"{found.meta['size']} bytes instead of {ref.size}")
        return self._chunks(ref, found)

    async def read(self, ref: BlobRef, *, limit: int | None = None) -> bytes:
        """Return the whole content; see Blobs.read."""
        within(limit, ref)
        return b"".join([chunk async for chunk in await self.open(ref)])

    async def fetch(self, ref: BlobRef, path: Path) -> None:
        """Download to a local file; see Blobs.fetch."""
        await copy_out(await self.open(ref), path)

    async def exists(self, ref: BlobRef) -> bool:
        """Ask for the object's head only."""
        try:
            with self._reported(ref):
                return (await obstore.head_async(self._store, _key(ref)))["size"] == ref.size
        except BlobMissing:
            return False

    async def delete(self, ref: BlobRef) -> None:
        """Remove a blob; see Blobs.delete."""
        try:
            with self._reported(ref):
                await obstore.delete_async(self._store, _key(ref))
        except BlobMissing:
            return

    async def refs(self) -> AsyncIterator[BlobRef]:
        """Yield what the bucket holds below the prefix; see Blobs.refs."""
        with self._reported(None):
            async for some in obstore.list(self._store, prefix="sha256"):  # pyright: ignore[reportUnknownMemberType] - an overload for arrow, which has no types
                for found in some:
                    yield BlobRef(found["path"].rpartition("/")[2], found["size"])

    async def check(self) -> None:
        """Overwrite one small object; see Blobs.check."""
        with self._reported(None):
            await obstore.put_async(self._store, "check", b"", use_multipart=False)

    async def _upload(self, ref: BlobRef, source: bytes | Path) -> None:
        with self._reported(None):
            await obstore.put_async(
                self._store, _key(ref), source, chunk_size=_PART_BYTES, max_concurrency=_PARALLEL_PARTS
            )

    async def _chunks(self, ref: BlobRef, found: "obstore.GetResult") -> AsyncIterator[bytes]:
        proof = Proof(ref)
        with self._reported(ref):
            async for buffer in found.stream(CHUNK_BYTES):
                chunk = bytes(buffer)
                await to_thread.run_sync(proof.add, chunk)
                yield chunk
        proof.conclude()

    @contextmanager
    def _reported(self, ref: BlobRef | None) -> Generator[None]:
        """Turn the store's errors into ours; a 404 is a missing blob only where one was asked for."""
        try:
            yield
        except FileNotFoundError as error:
            if ref is not None:
                raise BlobMissing(ref) from error
            raise BlobStoreDown(f"{self._name} does not exist", next_step="create the bucket") from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise BlobStoreDown(
                f"{self._name} refuses our credentials",
                next_step="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
            ) from error
        except (BaseError, OSError) as error:
            first_line = str(error).partition("\n")[0]
            raise BlobStoreDown(f"{self._name} does not answer: {first_line[:300]}") from error


def _key(ref: BlobRef) -> str:
    return f"sha256/{ref.sha256}"
