"""The name of a blob."""

import re
from dataclasses import dataclass

from archive_blobs._errors import BlobRefInvalid

_HEX = re.compile(r"[0-9a-f]{64}")
_TEXT = re.compile(r"blob:sha256:([0-9a-f]{64}):(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Content by its hash: equal content has an equal reference, in every store.

    `sha256` is 64 lower-case hexadecimal digits, `size` is in bytes. Printed as `blob:sha256:<hex>:<size>`.
    Raises BlobRefInvalid.
    """

    sha256: str
    size: int

    def __post_init__(self) -> None:
        # The hash becomes a path: nothing but digits may get that far.
        if not _HEX.fullmatch(self.sha256) or self.size < 0:
            raise _invalid(f"{self.sha256}:{self.size}")

    def __str__(self) -> str:
        return f"blob:sha256:{self.sha256}:{self.size}"

    @classmethod
    def parse(cls, text: str) -> "BlobRef":
        """Read what `str()` printed; there is one spelling of a reference. Raises BlobRefInvalid."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise _invalid(text)
        return cls(match[1], int(match[2]))


def _invalid(text: str) -> BlobRefInvalid:
    return BlobRefInvalid(
        f"{text[:100]!r} is no blob reference", next_step="use blob:sha256:<64 hexadecimal digits>:<size in bytes>"
    )
