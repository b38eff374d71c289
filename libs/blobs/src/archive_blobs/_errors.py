"""What can go wrong with a blob.

BlobError
├── BlobMissing         the store holds no such blob
├── BlobTooLarge        the content is over the limit the caller set
├── BlobCorrupt         what the store holds does not hash to its name
├── BlobStoreDown       the store cannot be reached, read or written
├── BlobRefInvalid      a text is no blob reference
└── BlobUrlInvalid      a text is no address of a store
"""

from typing import ClassVar


class BlobError(Exception):
    """Base of all. `code` is stable and for programs, `message` says what happened, `next_step` what to do."""

    code: ClassVar[str] = "blob_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(f"{message}; {next_step}")
        self.message = message
        self.next_step = next_step


class BlobMissing(BlobError):
    """The store holds no such blob."""

    code = "blob_missing"

    def __init__(self, ref: object) -> None:
        super().__init__(f"{ref} is not in the store", next_step="upload the content again")


class BlobTooLarge(BlobError):
    """The content is over the limit the caller set (`limit`, in bytes)."""

    code = "blob_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the content is larger than the limit of {limit} bytes", next_step="send less, or raise the limit"
        )
        self.limit = limit


class BlobCorrupt(BlobError):
    """What the store holds does not hash to its name."""

    code = "blob_corrupt"

    def __init__(self, ref: object, found: str) -> None:
        super().__init__(
            f"{ref} is damaged in the store: {found}", next_step="put the content again, which replaces it"
        )


class BlobStoreDown(BlobError):
    """The store cannot be reached, read or written; the same call may succeed later."""

    code = "blob_store_down"

    def __init__(self, message: str, *, next_step: str = "check the store and try again") -> None:
        super().__init__(message, next_step=next_step)


class BlobRefInvalid(BlobError, ValueError):
    """A text is no blob reference."""

    code = "blob_ref_invalid"


class BlobUrlInvalid(BlobError, ValueError):
    """A text is no address of a store."""

    code = "blob_url_invalid"
