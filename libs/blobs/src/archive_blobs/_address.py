"""From an address in the settings to a store."""

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from archive_blobs._errors import BlobUrlInvalid
from archive_blobs._folder import FolderBlobs
from archive_blobs._port import Blobs

_EXAMPLES = "use file:///absolute/path or s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1"


def open_blobs(url: str) -> Blobs:
    """Return the store behind `file:///path` or `s3://bucket/prefix?endpoint=...&region=...`.

    Nothing is contacted yet; `check()` does that. Credentials come from the environment (`AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`), never from the address, which ends up in logs. Raises BlobUrlInvalid.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            return _folder(parts)
        case "s3":
            return _s3(parts)
        case other:
            raise BlobUrlInvalid(f"a blob store cannot be at {other or 'a plain path'!r}", next_step=_EXAMPLES)


def _folder(parts: SplitResult) -> Blobs:
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or not path.is_absolute() or path == Path("/"):
        raise BlobUrlInvalid(
            "a file address of a blob store needs an absolute path and nothing else", next_step=_EXAMPLES
        )
    return FolderBlobs(path)


def _s3(parts: SplitResult) -> Blobs:
    if "@" in parts.netloc:
        raise BlobUrlInvalid(
            "the address of the blob store holds credentials",
            next_step="remove them and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = options.keys() - {"endpoint", "region"}
    if not parts.netloc or unknown or any(len(values) != 1 or not values[0] for values in options.values()):
        raise BlobUrlInvalid(
            f"an S3 address needs a bucket and knows the options endpoint and region, each once (unknown: "
            f"{', '.join(sorted(unknown)) or 'none'})",
            next_step=_EXAMPLES,
        )
    endpoint = options.get("endpoint", [None])[0]
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise BlobUrlInvalid("the endpoint of the S3 address is no http or https address", next_step=_EXAMPLES)
    # Only who uses an object store pays for loading its client.
    from archive_blobs._objects import ObjectBlobs

    return ObjectBlobs.s3(
        parts.netloc, prefix=parts.path.strip("/"), endpoint=endpoint, region=options.get("region", [None])[0]
    )
