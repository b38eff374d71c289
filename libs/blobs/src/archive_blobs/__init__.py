"""Content-addressed blobs behind one port: a folder, or an object store."""

from typing import TYPE_CHECKING

from archive_blobs._address import open_blobs
from archive_blobs._errors import (
    BlobCorrupt,
    BlobError,
    BlobMissing,
    BlobRefInvalid,
    BlobStoreDown,
    BlobTooLarge,
    BlobUrlInvalid,
)
from archive_blobs._folder import FolderBlobs
from archive_blobs._port import Blobs
from archive_blobs._ref import BlobRef

if TYPE_CHECKING:
    from archive_blobs._objects import ObjectBlobs

__all__ = [
    "BlobCorrupt",
    "BlobError",
    "BlobMissing",
    "BlobRef",
    "BlobRefInvalid",
    "BlobStoreDown",
    "BlobTooLarge",
    "BlobUrlInvalid",
    "Blobs",
    "FolderBlobs",
    "ObjectBlobs",
    "open_blobs",
]


def __getattr__(name: str) -> object:
    """Load the object store's client on first use: 5 MB that a folder does not need."""
    if name == "ObjectBlobs":
        from archive_blobs._objects import ObjectBlobs

        return ObjectBlobs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
