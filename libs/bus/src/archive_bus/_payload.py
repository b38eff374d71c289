"""What a message carries: inline while it is small, in the blob store beyond that."""

from collections.abc import Callable, Mapping

from pydantic import ValidationError

from archive_blobs import BlobError, BlobRef, Blobs, BlobStoreDown
from archive_bus._errors import BusUnavailable, Oversize, PayloadError, Undecodable, UnknownType, UnknownVersion
from archive_contracts.base import Message
from archive_contracts.envelope import BLOB_PREFIX, INLINE_LIMIT, Envelope
from archive_contracts.streams import TYPES

_SHOWN = 3
_READ: Mapping[str, Callable[[bytes], Message]] = {
    name: model.__pydantic_validator__.validate_json for name, model in TYPES.items()
}


class Payloads:
    """Stores what is too large for a stream entry and reads it back."""

    def __init__(self, blobs: Blobs | None) -> None:
        self._blobs = blobs

    async def fit(self, data: bytes) -> bytes:
        """Return the data, or a reference to it when it is too large for an entry.

        Raises:
            PayloadError: it is too large and there is no blob store, or the store refuses it.
            BusUnavailable: the blob store is away.
        """
        if fits(data):
            return data
        if self._blobs is None:
            raise Oversize(f"{len(data)} bytes are more than a message holds, and there is no blob store")
        try:
            return str(await self._blobs.put(data)).encode()
        except BlobStoreDown as error:
            raise BusUnavailable(f"the blob store that large messages need is away: {error}") from error
        except BlobError as error:
            raise PayloadError(f"the message cannot be stored: {error}") from error

    async def load(self, envelope: Envelope) -> bytes:
        """Return the data of an envelope.

        Raises:
            PayloadError: it refers to a blob that cannot be read.
            BusUnavailable: the blob store is away.
        """
        if not envelope.data.startswith(BLOB_PREFIX):
            return envelope.data
        if self._blobs is None:
            raise PayloadError("the message refers to a blob, and there is no blob store")
        try:
            return await self._blobs.read(BlobRef.parse(envelope.data.decode(errors="replace")))
        except BlobStoreDown as error:
            raise BusUnavailable(f"the blob store that holds the message is away: {error}") from error
        except BlobError as error:
            raise PayloadError(f"the message's blob cannot be read: {error}") from error

    async def message(self, envelope: Envelope) -> Message:
        """Return the message of an envelope.

        Raises:
            UnknownType: no such type is known, or not in this version.
            Undecodable: the data is not what the type demands.
            PayloadError, BusUnavailable: as load.
        """
        data = envelope.data if is_whole(envelope) else await self.load(envelope)
        return decoded(envelope, data)


def fits(data: bytes) -> bool:
    """Whether an entry holds so much."""
    return len(data) <= INLINE_LIMIT


def is_whole(envelope: Envelope) -> bool:
    """Whether an envelope holds its data itself."""
    return not envelope.data.startswith(BLOB_PREFIX)


def decoded(envelope: Envelope, data: bytes | None = None) -> Message:
    """Return the message of an envelope, whose ``data`` may have been read elsewhere.

    Raises:
        UnknownType, Undecodable: as Payloads.message.
    """
    read = _READ.get(envelope.type)
    if read is None:
        raise _unknown(envelope.type)
    try:
        return read(envelope.data if data is None else data)
    except ValidationError as error:
        raise Undecodable(_problems(TYPES[envelope.type], error)) from error


def _problems(model: type[Message], error: ValidationError) -> str:
    """Name the first fields that are wrong, in one line: what stands in a dead letter is read in a table."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ") for each in found[:_SHOWN]]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"the data is no {model.__name__}: {'; '.join(told)}{more}"


def _unknown(name: str) -> UnknownType:
    family = name.rpartition(".v")[0]
    known = [each for each in TYPES if family and each.rpartition(".v")[0] == family]
    if known:
        return UnknownVersion(f"{name} is known here as {', '.join(sorted(known))} alone")
    return UnknownType(f"no message type {name!r} is known here")
